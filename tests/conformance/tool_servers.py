"""The Model Context Protocol: the official conformance suite against our client and our server, and the official Python package
against `gptoss mcp`.

A scenario that is not passed stands in a table below with its reason; one that is missing there, and one that is passed in spite of
it, fails the check.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import tempfile

import mcp
import mcp.client.sse
import mcp.client.streamable_http

OAUTH = "OAuth is not spoken: what a server wants is given in `headers`"
CLIENT_FAILS = {
    "initialize": "this version of the suite wants revision 2025-11-25 to be asked for, and ours asks for 2026-07-28 first",
    "elicitation-sep1034-client-defaults": "no server may ask the user through a tool",
}
TOOL = "`gptoss mcp` has the tools of gpt-oss and not this one of the suite"
NOT_OFFERED = "`gptoss mcp` offers tools alone"
SERVER_FAILS = {
    "logging-set-level": NOT_OFFERED,
    "completion-complete": NOT_OFFERED,
    "tools-call-simple-text": TOOL,
    "tools-call-image": TOOL,
    "tools-call-audio": TOOL,
    "tools-call-embedded-resource": TOOL,
    "tools-call-mixed-content": TOOL,
    "tools-call-with-logging": TOOL,
    "tools-call-error": TOOL,
    "tools-call-with-progress": TOOL,
    "tools-call-sampling": TOOL,
    "tools-call-elicitation": TOOL,
    "json-schema-2020-12": TOOL,
    "elicitation-sep1034-defaults": TOOL,
    "elicitation-sep1330-enums": TOOL,
    "resources-list": NOT_OFFERED,
    "resources-read-text": NOT_OFFERED,
    "resources-read-binary": NOT_OFFERED,
    "resources-templates-read": NOT_OFFERED,
    "resources-subscribe": NOT_OFFERED,
    "resources-unsubscribe": NOT_OFFERED,
    "prompts-list": NOT_OFFERED,
    "prompts-get-simple": NOT_OFFERED,
    "prompts-get-with-args": NOT_OFFERED,
    "prompts-get-embedded-resource": NOT_OFFERED,
    "prompts-get-with-image": NOT_OFFERED,
}


def suite(*arguments):
    program = pathlib.Path(os.environ["NODE_FOLDER"]) / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([os.environ["NODE"], str(program), *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


def scenarios(kind):
    listed = suite("list").stdout.split("Client scenarios")
    return re.findall(r"^  - (\S+)", listed[kind == "client"], re.MULTILINE)


def hold(kind, fails, *arguments):
    """Runs every scenario, and compares what fails with what should."""
    def run(name):
        done = suite(kind, "--scenario", name, *arguments)
        return name, done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, scenarios(kind)))
    assert found
    wrong = [f"{name} is{'' if passed else ' not'} passed: {fails.get(name)}\n{told}" for name, passed, told in found if passed == (name in fails)]
    assert not wrong, "\n".join(wrong)
    return f"{sum(passed for _, passed, _ in found)} of {len(found)} scenarios, the others with their reasons"


@contextlib.contextmanager
def corpus():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "whales.txt").write_text("Whales\n\nA whale is a mammal.\n")
        yield folder


@contextlib.contextmanager
def listening(*tool):
    """The address of a tool of ours over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with subprocess.Popen([os.environ["GPTOSS"], "mcp", *tool, "--http", address], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "listening" in process.stderr.readline()
            yield f"http://{address}"
        finally:
            process.kill()


@contextlib.contextmanager
def served():
    """The address of our browser."""
    with corpus() as folder, listening("browser", f"corpus:{folder}") as base:
        yield base


async def use(streams):
    """What a foreign client does with a browser."""
    async with mcp.ClientSession(streams[0], streams[1]) as session:
        hello = await session.initialize()
        assert hello.server_info.name == "browser" and hello.instructions.startswith("Tool for browsing."), hello
        tools = (await session.list_tools()).tools
        assert [tool.name for tool in tools] == ["search", "open", "find"], tools
        found = await session.call_tool("search", {"query": "whale"})
        assert "whales" in found.content[0].text, found
        opened = await session.call_tool("open", {"id": 0})
        assert opened.content[0].text.startswith("[1] ") and "mammal" in opened.content[0].text, opened
        wrong = await session.call_tool("open", {"id": 7})
        assert wrong.is_error and "Invalid link id `7`." in wrong.content[0].text, wrong


def check_client_suite():
    # One wants a client that gives up, as one without OAuth does.
    given_up = {"auth/resource-mismatch"}
    auth = {name: OAUTH for name in scenarios("client") if name.startswith("auth/") and name not in given_up}
    return hold("client", {**CLIENT_FAILS, **auth}, "--command", os.environ["MCP_CALLS"])


def check_server_suite():
    with served() as base:
        return hold("server", SERVER_FAILS, "--url", f"{base}/mcp")


def check_python_over_streamable_http():
    async def main(url):
        async with mcp.client.streamable_http.streamable_http_client(url) as streams:
            await use(streams)

    with served() as base:
        asyncio.run(main(f"{base}/mcp"))


def check_python_over_sse():
    """As vLLM reaches a tool server."""
    async def main(url):
        async with mcp.client.sse.sse_client(url, headers={"x-session-id": "1"}) as streams:
            await use(streams)

    with served() as base:
        asyncio.run(main(f"{base}/sse"))


def check_pythons_of_ours():
    """Each session has its own."""
    async def main(base):
        async with mcp.client.sse.sse_client(f"{base}/sse") as one, mcp.client.streamable_http.streamable_http_client(f"{base}/mcp") as two:
            async with mcp.ClientSession(*one) as first, mcp.ClientSession(two[0], two[1]) as second:
                hello = await first.initialize()
                assert hello.server_info.name == "python" and "stateful Jupyter" in hello.instructions, hello
                await second.initialize()
                tool = (await first.list_tools()).tools[0]
                assert tool.name == "python" and tool.input_schema["required"] == ["code"], tool
                said = [await session.call_tool("python", {"code": code}) for session, code in
                        ((first, "x = 27"), (first, "print(x + 58)"), (second, "x"))]
                assert said[1].content[0].text == "85\n" and "NameError" in said[2].content[0].text, said

    with listening("python") as base:
        asyncio.run(main(base))


def check_python_over_stdio():
    async def main(folder):
        program = mcp.StdioServerParameters(command=os.environ["GPTOSS"], args=["mcp", "browser", f"corpus:{folder}"])
        async with mcp.stdio_client(program) as streams:
            await use(streams)

    with corpus() as folder:
        asyncio.run(main(folder))
