"""How many sampled turns are well-formed without any grammar, and how many are right.

    gptoss serve --model BASE --adapter tuned=DIR --port 8099
    python3 bench/tuning/evaluate.py held-out.jsonl --address http://127.0.0.1:8099 --model BASE:tuned [--temperature 1] [--json FILE]

Each row of held-out.jsonl (bench/tuning/conversations.py) is rendered by the server and continued by /v1/completions, which holds
nothing to the format. A turn is well-formed when it is messages of harmony from end to end, read here by rules of its own: analysis,
then a final message or a call of a function that exists, with JSON, and the token that ends a turn. It is right when
the call is the expected one with the expected arguments, or the answer the expected one. Which language it reasons in is told by its words.
"""

import argparse
import collections
import concurrent.futures
import json
import math
import pathlib
import re
import urllib.request

TOKENS_MAX = 300
SECONDS_MAX = 600
# Whichever of <|return|> and <|call|> ended the turn: the server does not tell, so the last header says which it must have been.
STOP = "<|stop|>"
CONTROLS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", STOP, "<|constrain|>")


def post(address, path, body):
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
        return json.load(answer)


def messages(tokens):
    """`(header, body, end)` of each message behind the prompt's `<|start|>assistant`, or None when something is not in its place.

    Control tokens are whole tokens; the same letters written as text are text.
    """
    out, header, body = [], [], None
    for token in tokens:
        if token not in CONTROLS:
            (header if body is None else body).append(token)
        elif token == "<|message|>" and body is None:
            body = []
        elif token in ("<|channel|>", "<|constrain|>") and body is None:
            header.append(token)
        elif token in ("<|end|>", STOP) and body is not None:
            out.append(("".join(header), "".join(body), token))
            header, body = None, None
        elif token == "<|start|>" and header is None:
            header = []
        else:
            return None
    return out if header is None and body is None else None


HEADER = re.compile(r"(assistant)?( to=functions\.(?P<before>\w+))?<\|channel\|>(?P<channel>analysis|commentary|final)"
                    r"( to=functions\.(?P<after>\w+))?(?P<json> ?<\|constrain\|>json)?")


def judge(tokens, row):
    """Whether it is well-formed, what is wrong with it, and whether it is right."""
    told = messages(tokens)
    if not told:
        return False, "no message from end to end", False
    functions = {tool["function"]["name"] for tool in row.get("tools", [])}
    for place, (header, body, end) in enumerate(told):
        found = HEADER.fullmatch(header)
        is_last = place + 1 == len(told)
        if not found or (place > 0) != header.startswith("assistant"):
            return False, f"the header {header!r}", False
        called = found["before"] or found["after"]
        if is_last != (end != "<|end|>"):
            return False, f"message {place} ends with {end}", False
        if not is_last:
            if found["channel"] == "final" or called:
                return False, f"a {found['channel']} message that goes on", False
            continue
        expected = row["expected"]
        if not called:
            if found["channel"] != "final":
                return False, f"{found['channel']} ends the turn", False
            return True, "", body.strip() == expected.get("answer")
        if called not in functions:
            return False, f"a call of {called}", False
        try:
            arguments = json.loads(body)
        except ValueError:
            return False, "a call without JSON", False
        return True, "", called == expected.get("call") and arguments == expected.get("arguments")


# Of the most frequent words of each language those that the other does not have.
WORDS = {
    "English": set("the is and of to it its has have i so are with this that answer function result nothing".split()),
    "German": set("der die das ist und den dem im steht es ihre ich also sind mit diese dass antwort funktion ergebnis nicht keine".split()),
}


def reasoning_language(tokens):
    """Which language most words of the reasoning are of, `None` where there is none or neither is ahead."""
    told = messages(tokens) or []
    words = re.findall(r"\w+", " ".join(body for header, body, _ in told if "analysis" in header).lower())
    counts = {language: sum(word in known for word in words) for language, known in WORDS.items()}
    first, second = sorted(counts, key=counts.get, reverse=True)
    return first if counts[first] > counts[second] else None


def interval(hits, count):
    """Wilson's, 95 %."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle, half = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (middle - half) / (1 + z * z / count)), (middle + half) / (1 + z * z / count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=pathlib.Path)
    parser.add_argument("--address", default="http://127.0.0.1:8080")
    parser.add_argument("--model", required=True)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    rows = [json.loads(line) for line in open(asked.rows)]

    def ask(place):
        row = rows[place]
        chat = {key: row[key] for key in ("messages", "tools", "reasoning_effort") if key in row}
        prompt = post(asked.address, "/v1/render", {"model": asked.model, **chat})["tokens"]
        body = {"model": asked.model, "prompt": prompt, "max_tokens": TOKENS_MAX, "temperature": asked.temperature, "seed": place, "logprobs": 0}
        choice = post(asked.address, "/v1/completions", body)["choices"][0]
        tokens = choice["logprobs"]["tokens"]
        if choice["finish_reason"] == "stop":
            tokens = tokens + [STOP]
        return tokens, *judge(tokens, row)

    with concurrent.futures.ThreadPoolExecutor(asked.clients) as clients:
        answers = list(clients.map(ask, range(len(rows))))
    table = collections.defaultdict(lambda: [0, 0, 0])
    for row, (_, formed, _, right) in zip(rows, answers):
        kind = row["expected"]["kind"] + (", a new function" if row["expected"]["is_new"] else "")
        for key in ("all", kind):
            for place, value in enumerate((1, formed, right)):
                table[key][place] += value
    print(f"{'':28} rows  well-formed            right")
    for key, (count, formed, right) in sorted(table.items()):
        shares = [f"{100 * hits / count:5.1f} % ({100 * low:.0f} to {100 * high:.0f})" for hits in (formed, right) for low, high in [interval(hits, count)]]
        print(f"{key:28} {count:4}  {shares[0]:22} {shares[1]}")
    for why, count in collections.Counter(why for _, formed, why, _ in answers if not formed).most_common(5):
        print(f"not well-formed, {count} times: {why}")
    languages = collections.Counter(reasoning_language(tokens) or "unknown" for tokens, formed, *_ in answers if formed)
    print("reasoning of well-formed turns: " + ", ".join(f"{count} in {language}" for language, count in languages.most_common()))
    if asked.json:
        keys = ("tokens", "well_formed", "why", "right")
        asked.json.write_text("".join(json.dumps(dict(zip(keys, answer)) | {"expected": row["expected"]}) + "\n" for row, answer in zip(rows, answers)))


if __name__ == "__main__":
    main()
