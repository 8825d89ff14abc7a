#!/usr/bin/env python3
"""Kills a server under load and asks the next one for everything that the killed one had acknowledged.

    python3 tests/kill/run.py PROGRAM [--kills 5] [--seed 1] [--state-dir DIR]

PROGRAM is a built `gptoss`; it serves the demo model on a free port of 127.0.0.1. Each round starts it on the
same state folder, asks for what the round before was told, puts load on it and sends SIGKILL at a moment that
the seed chooses, when something of each kind has been acknowledged. Acknowledged means: the whole body of an answer has arrived, the last event of a stream has,
the id of a response in the background has, the list of added items has, the object of a file or a batch has. A batch has to go on
and to give each of its lines one result in all. Needs Python 3.10 and nothing else.
Prints a line for each of the first losses and one of counts for each kind; ends with 1 if anything was lost,
with 2 if the run proves nothing.
"""

import argparse
import collections
import dataclasses
import http.client
import json
import os
import pathlib
import random
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from demo_server import DemoServer

KINDS = ("answer", "stream", "background", "item", "file", "batch")
# Writers of each kind that run at a time.
WRITERS_EACH = 2
# When the kill comes, after the floor of acknowledgements is there: a slow machine takes its time. Units: seconds.
KILL_AFTER_MIN, KILL_AFTER_MAX = 0.02, 1.0
# What has to be acknowledged of each kind before the kill: a round without proves nothing.
ACKNOWLEDGED_EACH_MIN = 1
# Between two looks at what has been acknowledged. Units: seconds.
LOOK_PAUSE = 0.01
# Between two responses in the background of one writer: they leave the engine to the others. Units: seconds.
BACKGROUND_PAUSE = 0.05
# Lines of a batch: so many that a kill finds some of them answered and some not.
BATCH_LINES = 40
# Between two batches, and two files, of one writer. Units: seconds.
BATCH_PAUSE, FILE_PAUSE = 0.5, 0.05
# The files of all kills stay: more than a tenant has by itself.
ROOM = ("--max-files", "1000000", "--files-size", "1TiB")
# Losses of which a line is printed; the rest are counted.
LOSSES_TOLD_MAX = 20
# How long one request, and a server's start, may take before the run counts as hung. Units: seconds.
PATIENCE = 60
# Items of one page of a list: the most that the server gives.
PAGE_ITEMS = 100
ENDED = {"completed", "incomplete", "failed", "cancelled"}
BATCH_ENDS = {"failed", "expired", "cancelled"}
LAST_EVENTS = {"response.completed", "response.incomplete", "response.failed"}


class Failure(Exception):
    """Not a loss, but something that makes the run worthless."""


@dataclasses.dataclass(frozen=True)
class Acknowledged:
    """What a client was told: of an answer or a stream the whole object, of an item its conversation."""

    kind: str
    id: str
    told: object


class Server(DemoServer):
    """A running server on a state folder."""

    patience, failure = PATIENCE, Failure

    def __init__(self, program, folder, flags=("--quiet", *ROOM), before=(), environment=None):
        super().__init__(program, "--state-dir", folder, *flags, before=before, environment=environment)


def connection(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)


def fetch(port, method, path, body=None, kind="application/json"):
    """Status and text of one request; a broken connection is an OSError or an HTTPException."""
    link = connection(port)
    try:
        link.request(method, path, body, {"content-type": kind} if body else {})
        answer = link.getresponse()
        return answer.status, answer.read().decode()
    finally:
        link.close()


def call(port, method, path, body=None):
    """Status and JSON of one request."""
    status, text = fetch(port, method, path, None if body is None else json.dumps(body))
    return status, json.loads(text)


def answer(port, number):
    status, told = call(port, "POST", "/v1/responses", question(number))
    if status == 200 and told["store"]:
        yield Acknowledged("answer", told["id"], told)


def background(port, number):
    status, told = call(port, "POST", "/v1/responses", {**question(number), "background": True})
    if status == 200:
        yield Acknowledged("background", told["id"], None)
    time.sleep(BACKGROUND_PAUSE)


def stream(port, number):
    link = connection(port)
    try:
        body = json.dumps({**question(number), "stream": True})
        link.request("POST", "/v1/responses", body, {"content-type": "application/json"})
        lines = link.getresponse()
        for line in iter(lines.readline, b""):
            # A line that the kill cut off is not an event that was told.
            if line.startswith(b"data: {") and line.endswith(b"\n"):
                event = json.loads(line[len(b"data: "):])
                if event["type"] in LAST_EVENTS and event["response"]["store"]:
                    yield Acknowledged("stream", event["response"]["id"], event["response"])
    finally:
        link.close()


def item(port, number, conversation):
    new = [{"type": "message", "role": "user", "content": f"Item {number}."}]
    status, told = call(port, "POST", f"/v1/conversations/{conversation}/items", {"items": new})
    if status == 200:
        yield Acknowledged("item", told["data"][0]["id"], conversation)


def upload(port, content):
    """Status and object of a file."""
    parts = [('name="purpose"', "batch"), ('name="file"; filename="in.jsonl"', content)]
    form = "".join(f"--xx\r\ncontent-disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts) + "--xx--\r\n"
    status, text = fetch(port, "POST", "/v1/files", form, "multipart/form-data; boundary=xx")
    return status, json.loads(text)


def file(port, number):
    content = f"File {number}.\n" * 1000
    status, told = upload(port, content)
    if status == 200:
        yield Acknowledged("file", told["id"], content)
    time.sleep(FILE_PAUSE)


def batch(port, number):
    def line(index):
        body = {**question(number + index), "store": False}
        return json.dumps({"custom_id": f"q{index}", "method": "POST", "url": "/v1/responses", "body": body}) + "\n"

    status, input_file = upload(port, "".join(map(line, range(BATCH_LINES))))
    if status == 200:
        asked = {"input_file_id": input_file["id"], "endpoint": "/v1/responses", "completion_window": "24h"}
        status, told = call(port, "POST", "/v1/batches", asked)
        if status == 200:
            yield Acknowledged("batch", told["id"], None)
    time.sleep(BATCH_PAUSE)


def content(port, id):
    """Status and text of a file."""
    return fetch(port, "GET", f"/v1/files/{id}/content")


def batch_problem(port, id):
    """What is wrong with a batch, when it has had time to end; None is nothing."""
    end, answered = time.monotonic() + PATIENCE, None
    while True:
        status, found = call(port, "GET", f"/v1/batches/{id}")
        if status != 200:
            return f"{status}: {found.get('error', {}).get('message')}"
        # Of a slow machine it goes on slowly.
        if found["request_counts"] != answered:
            end, answered = time.monotonic() + PATIENCE, found["request_counts"]
        if found["status"] == "completed":
            break
        if found["status"] in BATCH_ENDS or time.monotonic() > end:
            return f"it is {found['status']}: {found['request_counts']}"
        time.sleep(LOOK_PAUSE)
    _, text = content(port, found["output_file_id"])
    results = [json.loads(line) for line in text.splitlines()]
    ids = [result["custom_id"] for result in results]
    if ids != [f"q{index}" for index in range(BATCH_LINES)]:
        return f"results of {ids}"
    bodies = [result["response"]["body"] for result in results]
    broken = [body["status"] for body in bodies if body["status"] not in ("completed", "incomplete") or not body["output"]]
    return f"results that are {broken}" if broken else None


def question(number):
    return {"input": f"What is {number % 90 + 10} + 58?", "max_output_tokens": 24}


def load(port, seconds, kill):
    """Everything acknowledged before and while `kill` is called, `seconds` after the floor is there."""
    status, made = call(port, "POST", "/v1/conversations", {})
    if status != 200:
        raise Failure(f"a conversation was refused with {status}: {made}")
    acknowledged, unexpected = [], []

    def write(writer, first):
        for number in range(first, sys.maxsize):
            try:
                acknowledged.extend(writer(port, number))
            except (OSError, http.client.HTTPException):
                return
            except Exception as error:
                unexpected.append(error)
                return

    writers = [answer, stream, background, file, batch, lambda port, number: item(port, number, made["id"])]
    threads = [
        threading.Thread(target=write, args=(writer, 1000 * index))
        for index, writer in enumerate(writers * WRITERS_EACH)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    while not (is_enough := has_floor(acknowledged)) and time.monotonic() < end and not unexpected:
        time.sleep(LOOK_PAUSE)
    if is_enough:
        time.sleep(seconds)
    was_running = kill()
    for thread in threads:
        thread.join()
    if not was_running:
        raise Failure("the server ended before it was killed")
    if unexpected:
        raise Failure(f"a writer met what no kill explains: {unexpected[0]!r}")
    if not is_enough:
        raise Failure(f"not every kind was acknowledged in {PATIENCE} s")
    return acknowledged


def has_floor(acknowledged):
    """Whether enough of every kind has been acknowledged for a kill to prove something."""
    counts = collections.Counter(one.kind for one in list(acknowledged))
    return all(counts[kind] >= ACKNOWLEDGED_EACH_MIN for kind in KINDS)


def listed(port, conversation):
    """Ids of all items of a conversation."""
    ids, after = set(), ""
    while True:
        path = f"/v1/conversations/{conversation}/items?order=asc&limit={PAGE_ITEMS}{after}"
        status, page = call(port, "GET", path)
        if status != 200:
            return ids
        ids.update(entry["id"] for entry in page["data"])
        if not page["has_more"]:
            return ids
        after = f"&after={page['last_id']}"


def losses(port, acknowledged):
    """What the server does not give back as it was told, with what it says instead."""
    items = {told: listed(port, told) for told in {one.told for one in acknowledged if one.kind == "item"}}
    for one in acknowledged:
        if one.kind == "item":
            if one.id not in items[one.told]:
                yield one, "not listed"
            continue
        if one.kind == "file":
            if content(port, one.id) != (200, one.told):
                yield one, "another content"
            continue
        if one.kind == "batch":
            if problem := batch_problem(port, one.id):
                yield one, problem
            continue
        status, found = call(port, "GET", f"/v1/responses/{one.id}")
        if status != 200:
            yield one, f"{status}: {found.get('error', {}).get('message')}"
        elif one.kind == "background":
            if found["status"] not in ENDED:
                yield one, f"still {found['status']}, though nothing works on it"
            elif found["status"] == "failed" and not (found["error"] or {}).get("message"):
                yield one, "failed without saying why"
        elif found != one.told:
            yield one, "another object"


def walk(program, folder, kills, seed):
    """The counts of what was acknowledged and what was lost, by kind."""
    moments = random.Random(seed)
    counts, lost = collections.Counter(), collections.Counter()
    acknowledged = []
    for number in range(kills + 1):
        server = Server(program, folder)
        try:
            counts.update(one.kind for one in acknowledged)
            for one, problem in losses(server.port, acknowledged):
                lost[one.kind] += 1
                if lost.total() <= LOSSES_TOLD_MAX:
                    print(f"kill {number}: {one.kind} {one.id}: {problem}", flush=True)
            if number < kills:
                seconds = moments.uniform(KILL_AFTER_MIN, KILL_AFTER_MAX)
                acknowledged = load(server.port, seconds, server.kill)
        finally:
            server.kill()
    return counts, lost


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state-dir", type=pathlib.Path, help="keeps the folder [default: a temporary one]")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.state_dir or pathlib.Path(temporary) / "state"
        try:
            counts, lost = walk(str(options.program.resolve()), folder, options.kills, options.seed)
        except Failure as failure:
            print(f"kill: {failure}", file=sys.stderr)
            return 2
    for kind in KINDS:
        print(f"{kind}: {lost[kind]} of {counts[kind]} lost")
    print(f"{options.kills} kills, seed {options.seed}, {time.monotonic() - begun:.0f} s")
    missing = [kind for kind in KINDS if counts[kind] == 0]
    if missing:
        problem = f"nothing was acknowledged of: {', '.join(missing)}; more kills are needed"
        print(f"kill: {problem}", file=sys.stderr)
        return 2
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
