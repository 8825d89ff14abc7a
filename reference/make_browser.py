"""What the reference's browser shows of the pages in testdata/browser.

    python reference/make_browser.py testdata/browser

Writes text.jsonl and html.jsonl: for each page a session's calls with the text that came back; and session.jsonl,
one session over several pages with searches and mistakes. Pages of text are given as they are, those of HTML as
Exa's interface gives them. Needs Python 3.12, gpt-oss 0.0.9, lxml 6.1, html2text 2025.4.15, tiktoken.
"""

import asyncio
import json
import sys
from pathlib import Path

import chz
from openai_harmony import Author, Message, Role, TextContent

from gpt_oss.tools.simple_browser import ExaBackend, SimpleBrowserTool
from gpt_oss.tools.simple_browser.page_contents import PageContents, _replace_special_chars

folder = Path(sys.argv[1])
SITE = "https://pages.example/"
RESULTS = [
    {"title": "Lists of things", "url": SITE + "lists.html", "summary": "Ordered and not."},
    {"title": "Same   place\nagain †", "url": SITE + "lists.html", "summary": "  spaced\n out  "},
    {"title": "A paper", "url": "https://arxiv.org/abs/1706.03762", "summary": "It is a paper."},
    {"title": "【Odd】 title", "url": "https://other.example:8443/x?y=1#z", "summary": "With 【9†mark】."},
    {"title": "", "url": "https://empty.example/", "summary": "No title."},
    {"title": "No summary", "url": "http://plain.example/a%20b", "summary": ""},
]


@chz.chz
class Pages(ExaBackend):
    """The reference's backend, with files in the place of the service."""

    async def fetch(self, url, session):
        if not url.startswith("corpus://"):
            return await super().fetch(url, session)
        name = url.removeprefix("corpus://text/")
        text = _replace_special_chars((folder / "text" / name).read_bytes().decode())
        title = "Notes on herons" if name == "notes.md" else name
        return PageContents(url=url, text=f"\nURL: {url}\n{text}", title=title, urls={})

    async def _post(self, session, endpoint, payload):
        if endpoint == "/search":
            return {"results": RESULTS if payload["query"] != "nothing" else []}
        name = payload["urls"][0].removeprefix(SITE)
        try:
            return {"results": [{"title": "", "text": (folder / "html" / name).read_text()}]}
        except OSError:
            return {"results": []}


async def call(browser, function, arguments):
    message = Message(author=Author(role=Role.ASSISTANT), content=[TextContent(text=arguments)]).with_recipient(
        f"browser.{function}"
    )
    replies = [reply async for reply in browser.process(message)]
    return replies[0].content[0].text


def one_page(url, pattern):
    last = {"cursor": 0, "num_lines": 1_000_000}
    return [
        ("open", {"id": url}),
        ("open", last),
        ("open", {"loc": 7}),
        ("open", {"cursor": 0, "loc": 3, "num_lines": 2}),
        ("find", {"pattern": pattern, "cursor": 0}),
        ("open", {"id": 0}),
        ("open", {"cursor": 0, "loc": 100_000}),
    ]


def session():
    search = SITE + "search"
    return [
        ("open", {}),
        ("find", {"pattern": "x"}),
        ("search", {"query": "Things & <b>more</b>", "topn": 3}),
        ("open", {"id": 0}),
        ("open", {"id": 3, "cursor": 0}),
        ("open", {"id": 99, "cursor": 0}),
        ("find", {"pattern": "NESTED a"}),
        ("open", {"id": 0}),
        ("find", {"pattern": "x", "cursor": 2}),
        ("find", {"pattern": "no such thing, ünd/so?", "cursor": 1}),
        ("open", {"cursor": 99}),
        ("open", {"cursor": "1"}),
        ("open", {"loc": 500}),
        ("open", {"id": SITE + "missing.html"}),
        ("search", {"query": "nothing"}),
        ("open", {"id": SITE + "long.html", "loc": 12}),
        ("open", {"loc": 60}),
        ("find", {"pattern": "section"}),
        ("open", {"id": 40}),
        ("open", {"id": 30, "cursor": 8}),
        ("close", {}),
        ("open", "not json"),
        ("open", "[1]"),
        ("search", {"query": search + "é" * 400}),
        ("open", {"id": "https://pages.example/%E6%97%A5?q=" + "a" * 1100}),
    ]


async def run(calls):
    browser = SimpleBrowserTool(backend=Pages(source="web"))
    rows = []
    for function, arguments in calls:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        rows.append({"function": function, "arguments": text, "text": await call(browser, function, text)})
    return rows


def write(name, rows):
    with open(folder / name, "w") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


async def main():
    for kind, site in (("text", "corpus://text/"), ("html", SITE)):
        pages = sorted(path.name for path in (folder / kind).iterdir())
        rows = [{"page": name, "calls": await run(one_page(site + name, "on"))} for name in pages]
        write(f"{kind}.jsonl", rows)
    write("session.jsonl", await run(session()))


asyncio.run(main())
