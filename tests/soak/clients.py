"""Clients that ask for one answer over each of the APIs, badly if they are told to, and judge what came.

Plain sockets and nothing else: an HTTP library hides how a stream ended, and cannot send a head slowly.
"""

import asyncio
import base64
import dataclasses
import json
import os
import time

APIS = ("chat", "responses", "completions", "messages", "websocket")
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "websocket": "/v1/responses",
}
LAST_RESPONSE_EVENTS = ("response.completed", "response.incomplete", "response.failed")
# Bytes of a head that are sent at a time when it is sent slowly.
HEAD_PIECE = 24


class Refused(Exception):
    """The server answered, and not with what was asked for."""


class Broken(Exception):
    """The connection ended before the answer did."""


class Cut(Exception):
    """The client went away, as it was told to."""


@dataclasses.dataclass
class Ask:
    """One request and how its client behaves."""

    api: str
    body: dict
    # The client goes away after so many events; None: it does not.
    cut_after: int | None = None
    # It goes away with a reset instead of an end.
    resets: bool = False
    # Between two events that are read, and between two pieces of the head. Units: seconds.
    read_pause: float = 0
    head_pause: float = 0
    # How long sending the request took, by the client's own clock. Units: seconds.
    head_took: float = 0

    @property
    def streams(self):
        return self.api == "websocket" or self.body.get("stream", False)


def body_of(api, question, tokens, streams, **more):
    """The body that asks `question` over an API."""
    if api == "completions":
        return {"prompt": question, "max_tokens": tokens, "temperature": 0, "stream": streams, **more}
    if api in ("responses", "websocket"):
        body = {"input": question, "max_output_tokens": tokens, "temperature": 0, **more}
        return body if api == "websocket" else {**body, "stream": streams}
    return {"messages": [{"role": "user", "content": question}], "max_tokens": tokens, "temperature": 0, "stream": streams, **more}


async def open_connection(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def send(writer, head, pause):
    """Sends a head, in pieces if there is a pause."""
    data = head.encode()
    pieces = [data[at:at + HEAD_PIECE] for at in range(0, len(data), HEAD_PIECE)] if pause else [data]
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if pause:
            await asyncio.sleep(pause)


async def send_request(writer, ask, head):
    """Sends a request as slowly as its client does, and notes how long that took even if it failed."""
    begun = time.monotonic()
    try:
        await send(writer, head, ask.head_pause)
    finally:
        ask.head_took = time.monotonic() - begun


async def read_head(reader):
    """Status and headers."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Broken(f"no head: {error}") from None
    first, *lines = text.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return int(first.split(" ")[1]), headers


async def chunks(reader, headers):
    """The body, to its end as HTTP/1.1 tells it."""
    try:
        if headers.get("transfer-encoding") != "chunked":
            yield await reader.readexactly(int(headers["content-length"]))
            return
        while length := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(length + 2))[:-2]
        await reader.readexactly(2)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise Broken(f"no end: {error}") from None


async def whole_body(reader, headers):
    return b"".join([chunk async for chunk in chunks(reader, headers)])


async def data_of(reader, headers):
    """The data of a stream's events."""
    rest = b""
    async for chunk in chunks(reader, headers):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield line[len(b"data: "):].decode()


async def fetch(port, path, method="GET"):
    """Status and body of a request without one."""
    reader, writer = await open_connection(port)
    try:
        await send(writer, f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", 0)
        status, headers = await read_head(reader)
        return status, (await whole_body(reader, headers)).decode()
    finally:
        writer.close()


async def http_events(reader, writer, ask, begun):
    text = json.dumps(ask.body)
    head = f"POST {PATHS[ask.api]} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
    await send_request(writer, ask, f"{head}content-length: {len(text)}\r\n\r\n{text}")
    # A cut after nothing goes away while the server has only the request.
    if ask.cut_after == 0:
        raise Cut
    status, headers = await read_head(reader)
    if status != 200:
        raise Refused(f"{status} {(await whole_body(reader, headers)).decode()[:200]}")
    begun()
    if ask.streams:
        async for data in data_of(reader, headers):
            yield data
    else:
        yield (await whole_body(reader, headers)).decode()


def frame(kind, payload):
    """A frame of a WebSocket, masked as a client's has to be."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) + length.to_bytes(2, "big")
    mask = os.urandom(4)
    return bytes([0x80 | kind]) + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


async def read_frame(reader):
    """Kind and payload of a frame; the server sends each message in one."""
    try:
        kind, length = await reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await reader.readexactly(8), "big")
        return kind & 0x0F, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Broken(f"no frame: {error}") from None


async def socket_events(reader, writer, ask, begun):
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET {PATHS['websocket']} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
    )
    await send_request(writer, ask, head)
    status, headers = await read_head(reader)
    if status != 101:
        raise Refused(f"{status} {(await whole_body(reader, headers)).decode()[:200]}")
    text = json.dumps({"type": "response.create", **ask.body}).encode()
    writer.write(frame(1, text))
    begun()
    while True:
        kind, payload = await read_frame(reader)
        if kind == 9:
            writer.write(frame(10, payload))
        elif kind == 8:
            raise Broken(f"closed with {int.from_bytes(payload[:2], 'big')}")
        elif kind == 1:
            yield payload.decode()
            if json.loads(payload)["type"] in (*LAST_RESPONSE_EVENTS, "error"):
                return


async def events(port, ask, begun=lambda: None):
    """The events of an answer, or its body as the only one. `begun` is called when the server has taken it.

    Raises Refused, Broken, Cut.
    """
    try:
        reader, writer = await open_connection(port)
    except OSError as error:
        raise Broken(f"no connection: {error}") from None
    try:
        count = 0
        source = socket_events if ask.api == "websocket" else http_events
        async for event in source(reader, writer, ask, begun):
            yield event
            count += 1
            if ask.cut_after is not None and count >= ask.cut_after:
                raise Cut
            if ask.read_pause:
                await asyncio.sleep(ask.read_pause)
    except ConnectionError as error:
        raise Broken(str(error)) from None
    finally:
        writer.transport.abort() if ask.resets else writer.close()


async def patiently(source, silence):
    """What `source` gives, for as long as it is never silent for so many seconds: how long a whole answer takes is
    the machine's.

    Raises asyncio.TimeoutError, and what the source does.
    """
    try:
        while True:
            try:
                event = await asyncio.wait_for(anext(source), silence)
            except StopAsyncIteration:
                return
            yield event
    finally:
        await source.aclose()


def problem(ask, seen):
    """What is wrong with an answer that was read to its end; None: it is whole, and there is one."""
    if not ask.streams:
        return problem_of_body(ask.api, json.loads(seen[0]))
    objects = [json.loads(data) for data in seen if data != "[DONE]"]
    errors = [one for one in objects if one.get("error") or one.get("type") == "error"]
    if errors:
        return f"an error: {json.dumps(errors[0])[:200]}"
    if ask.api in ("chat", "completions"):
        reasons = [choice["finish_reason"] for one in objects for choice in one["choices"] if choice.get("finish_reason")]
        if len(reasons) != 1:
            return f"{len(reasons)} finish reasons"
        return None if seen.count("[DONE]") == 1 and seen[-1] == "[DONE]" else "no [DONE] at the end"
    # A ping comes whenever nothing else does.
    kinds = [one["type"] for one in objects if one["type"] != "ping"]
    if ask.api == "messages":
        if kinds[:1] != ["message_start"] or kinds[-1:] != ["message_stop"] or kinds.count("message_stop") != 1:
            return f"from {kinds[:1]} to {kinds[-1:]}"
        return None
    last = [kind for kind in kinds if kind in LAST_RESPONSE_EVENTS]
    if len(last) != 1 or last != kinds[-1:] or last == ["response.failed"]:
        return f"last events {last}, then {kinds[-1:]}"
    numbers = [one["sequence_number"] for one in objects]
    return None if numbers == list(range(len(numbers))) else f"numbers {numbers[:5]}..."


def problem_of_body(api, body):
    if api in ("chat", "completions"):
        return None if body["choices"][0]["finish_reason"] in ("stop", "length") else "no finish reason"
    if api == "messages":
        return None if body["stop_reason"] in ("end_turn", "max_tokens") else "no stop reason"
    return None if body["status"] in ("completed", "incomplete") else body["status"]


def typed_end(ask, seen):
    """The code of the error that a stream ended with in its API's own form; None: there is none."""
    objects = [json.loads(data) for data in seen if data != "[DONE]"]
    last = objects[-1] if objects else {}
    if last.get("type") == "response.failed":
        return last["response"]["error"]["code"]
    if error := last.get("error"):
        return error.get("code") or error["type"]
    return None


def text(ask, seen):
    """Everything that was said, reasoning first."""
    if not ask.streams:
        return text_of_body(ask.api, json.loads(seen[0]))
    thought = said = ""
    for data in seen:
        one = {} if data == "[DONE]" else json.loads(data)
        for choice in one.get("choices", []):
            delta = choice.get("delta", {})
            thought += delta.get("reasoning_content") or ""
            said += delta.get("content") or choice.get("text") or ""
        kind, delta = one.get("type"), one.get("delta")
        if kind == "content_block_delta":
            thought += delta.get("thinking", "")
            said += delta.get("text", "")
        elif kind == "response.reasoning_text.delta":
            thought += delta
        elif kind == "response.output_text.delta":
            said += delta
    return thought, said


def text_of_body(api, body):
    if api == "completions":
        return "", body["choices"][0]["text"]
    if api == "chat":
        message = body["choices"][0]["message"]
        return message.get("reasoning_content") or "", message.get("content") or ""
    if api == "messages":
        parts = body["content"]
        return "".join(one.get("thinking", "") for one in parts), "".join(one.get("text", "") for one in parts)
    parts = [(item["type"], part["text"]) for item in body["output"] for part in item["content"]]
    thought = "".join(words for kind, words in parts if kind == "reasoning")
    return thought, "".join(words for kind, words in parts if kind == "message")
