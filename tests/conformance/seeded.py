"""A seeded request gives the same body but for ids and times: alone, beside others, streamed or not."""

import asyncio
import json

import httpx

import servers

TIMES = 12
QUESTION = "What is 27 + 58?"
TOOL = {"name": "get_weather", "description": "Get the weather of a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}, "strict": True}
SEEDED = {"seed": 7, "temperature": 1}
BODIES = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}], "logprobs": True, "top_logprobs": 2, **SEEDED}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "tool_choice": "required",
                              "tools": [{"type": "function", "function": TOOL}], "max_tokens": 300, **SEEDED}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}], "n": 3, "max_tokens": 60, **SEEDED}),
    ("/v1/responses", {"input": QUESTION, "store": False, **SEEDED}),
    ("/v1/responses", {"input": "What is the weather in Paris?", "tools": [{"type": "function", **TOOL}], "tool_choice": "required",
                       "store": False, "max_output_tokens": 300, **SEEDED}),
    ("/v1/completions", {"prompt": "27 + 58 =", "max_tokens": 40, "logprobs": 2, **SEEDED}),
]


def plain(value):
    """Without ids and times, and without what tells how much of the prompt was computed before."""
    differing = {"id", "call_id", "created", "created_at", "completed_at", "cached_tokens"}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if key not in differing}
    return [plain(part) for part in value] if isinstance(value, list) else value


async def whole(client, path, body):
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return plain(answer.json())


async def streamed(client, path, body):
    """What a stream adds up to: of Responses the last object, of the others each choice's texts."""
    texts, last = {}, None
    async with client.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                last = json.loads(line[6:])
                for choice in last.get("choices", []):
                    add(texts.setdefault(choice["index"], {}), choice.get("delta", choice))
    return plain(last["response"]) if path == "/v1/responses" else texts


def add(texts, delta):
    for field in ("reasoning", "content", "text"):
        texts[field] = texts.get(field, "") + (delta.get(field) or "")
    for call in delta.get("tool_calls") or []:
        texts["call"] = texts.get("call", "") + (call["function"].get("name") or "") + (call["function"].get("arguments") or "")


def texts_of(path, body):
    """The same of a body that was not streamed."""
    if path == "/v1/responses":
        return body
    texts = {}
    for choice in body["choices"]:
        add(texts.setdefault(choice["index"], {}), choice.get("message", choice))
    return texts


async def hold(base):
    differing = 0
    async with httpx.AsyncClient(base_url=base, timeout=120) as client:
        for path, body in BODIES:
            first = await whole(client, path, body)
            bodies = await asyncio.gather(*(whole(client, path, body) for _ in range(TIMES)))
            assert all(other == first for other in bodies), (path, body)
            streams = await asyncio.gather(*(streamed(client, path, body) for _ in range(TIMES)))
            expected = texts_of(path, first)
            assert all(other == expected for other in streams), (path, body, expected, streams[0])
            differing += await whole(client, path, {**body, "seed": 8}) != first
    assert differing > 0, "the seed changes nothing"


def check_same_bytes():
    with servers.demo("--quiet") as base:
        asyncio.run(hold(base))
    return f"{len(BODIES)} requests, {2 * TIMES + 1} times each"
