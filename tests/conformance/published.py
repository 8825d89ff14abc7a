"""A day of a server: every operation that OpenAI's published description has too, each answer and each event held against it.

Three fields of a response are null until they are known, as Open Responses demands and as OpenAI's own servers send them, where
OpenAI's description would have them left out (`NULLS`); they are taken out when they are null. Nothing else is excused.
"""

import json

import httpx

import descriptions
import openresponses
import servers

NULLS = ("usage", "safety_identifier", "prompt_cache_key")
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
FUNCTION = {"type": "function", "name": "get_weather", "description": "Weather.", "parameters": WEATHER, "strict": True}
CUSTOM = {"type": "custom", "name": "get_weather", "description": "Weather."}
CHAT_FUNCTION = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
ANSWER = servers.answer("Hello, world.")
SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"], "additionalProperties": False}


def plain(value):
    """The value without what `NULLS` excuses."""
    if isinstance(value, dict):
        is_response = value.get("object") == "response"
        return {name: plain(inner) for name, inner in value.items() if not (is_response and name in NULLS and inner is None)}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


class Day:
    """Asks, and holds what comes back against the operation's description."""

    def __init__(self, base):
        self.base = base
        self.num_held = 0

    def hold(self, pointer, value):
        found = descriptions.openai().violations(pointer, plain(value))
        assert not found, (pointer, found, value)
        self.num_held += 1
        return value

    def ask(self, method, path, body=None, names=None, expect=200):
        """`path` is the description's, `names` what stands in its braces."""
        place = f"/paths/{path.replace('/', '~1')}/{method}/responses/200/content/"
        url = self.base + "/v1" + path.format(**(names or {}))
        response = httpx.request(method, url, json=body, timeout=60)
        assert response.status_code == expect, (path, response.status_code, response.text)
        if expect != 200:
            return self.hold("/components/schemas/ErrorResponse", response.json())
        if response.headers["content-type"].startswith("text/event-stream"):
            lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
            return [self.hold(place + "text~1event-stream/schema", json.loads(line)) for line in lines]
        schema = place + "application~1json/schema"
        # The description has no answer to a deletion of a response.
        return response.json() if (method, path) == ("delete", "/responses/{response_id}") else self.hold(schema, response.json())


def create(day, **body):
    return day.ask("post", "/responses", {"model": "scripted", "input": "What is 27 + 58?", **body})


def responses(day):
    made = create(day, metadata={"topic": "sums"}, instructions="Be short.", user="me", text={"verbosity": "low"})
    create(day, stream=True, include=["message.output_text.logprobs"], top_logprobs=2)
    create(day, stream=True, reasoning={"effort": "low", "summary": "auto"})
    create(day, max_output_tokens=3)
    create(day, max_output_tokens=3, stream=True)
    create(day, previous_response_id=made["id"], store=False, prompt_cache_key="a", safety_identifier="b")
    create(day, max_tool_calls=3, truncation="auto", tools=[FUNCTION, CUSTOM | {"name": "other"}], tool_choice="none")
    background = create(day, background=True)
    names = {"response_id": background["id"]}
    day.ask("get", "/responses/{response_id}", names=names)
    day.ask("post", "/responses/{response_id}/cancel", names=names)
    day.ask("get", "/responses/{response_id}/input_items", names={"response_id": made["id"]})
    day.ask("delete", "/responses/{response_id}", names={"response_id": made["id"]})
    day.ask("get", "/responses/{response_id}", names={"response_id": made["id"]}, expect=404)
    day.ask("post", "/responses/compact", {"model": "scripted", "input": "What is 27 + 58?"})
    day.ask("post", "/responses/input_tokens", {"model": "scripted", "input": "What is 27 + 58?"})
    create_refused = {"model": "scripted", "input": "hi", "previous_response_id": "resp_0"}
    error = day.ask("post", "/responses", create_refused, expect=400)["error"]
    assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id"), error


def conversations(day):
    items = [{"type": "message", "role": "user", "content": "I am Alice."}, {"role": "assistant", "content": "Hello."}]
    made = day.ask("post", "/conversations", {"metadata": {"topic": "names"}, "items": items})
    names = {"conversation_id": made["id"]}
    day.ask("get", "/conversations/{conversation_id}", names=names)
    day.ask("post", "/conversations/{conversation_id}", {"metadata": {"topic": "more"}}, names)
    create(day, conversation=made["id"], input="Who am I?")
    added = day.ask("post", "/conversations/{conversation_id}/items", {"items": items[:1]}, names)["data"][0]
    listed = day.ask("get", "/conversations/{conversation_id}/items", names=names)["data"]
    assert len(listed) == 6 and listed[0]["id"] == added["id"], listed
    item = names | {"item_id": added["id"]}
    assert day.ask("get", "/conversations/{conversation_id}/items/{item_id}", names=item) == added
    day.ask("delete", "/conversations/{conversation_id}/items/{item_id}", names=item)
    day.ask("get", "/conversations/{conversation_id}/items/{item_id}", names=item, expect=404)
    day.ask("delete", "/conversations/{conversation_id}", names=names)


def others(day):
    messages = [{"role": "user", "content": "What is 27 + 58?"}]
    chat = {"model": "scripted", "messages": messages}
    for more in [{}, {"logprobs": True, "top_logprobs": 2}, {"n": 2}, {"max_tokens": 3}, {"stream": True},
                 {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True}]:
        day.ask("post", "/chat/completions", chat | more)
    day.ask("post", "/chat/completions", chat | {"temperature": 9}, expect=400)
    day.ask("post", "/completions", {"model": "scripted", "prompt": "One", "max_tokens": 4, "logprobs": 1})
    day.ask("get", "/models")
    day.ask("get", "/models/{model}", names={"model": "scripted"})
    day.ask("get", "/models/{model}", names={"model": "gpt-9"}, expect=404)


def calls(day):
    for tool in [FUNCTION, CUSTOM]:
        asked = {"tools": [tool], "input": "Weather?"}
        call = create(day, **asked)["output"][-1]
        create(day, stream=True, **asked)
        made = create(day, **asked)
        call = made["output"][-1]
        output = {"type": f"{call['type']}_output", "call_id": call["call_id"], "output": "sunny"}
        answered = create(day, tools=[tool], previous_response_id=made["id"], input=[output])
        day.ask("get", "/responses/{response_id}/input_items", names={"response_id": answered["id"]})
        conversation = day.ask("post", "/conversations", {})["id"]
        create(day, conversation=conversation, **asked)
        day.ask("get", "/conversations/{conversation_id}/items", names={"conversation_id": conversation})
    chat = {"model": "scripted", "messages": [{"role": "user", "content": "Weather?"}], "tools": [CHAT_FUNCTION]}
    day.ask("post", "/chat/completions", chat)
    day.ask("post", "/chat/completions", chat | {"stream": True})


def check_a_day():
    num_held = 0
    days = [([ANSWER], [responses, conversations, others]),
            ([servers.call("get_weather", {"city": "Paris"}), ANSWER], [calls])]
    for texts, parts in days:
        with servers.scripted(texts) as base:
            day = Day(base)
            for part in parts:
                part(day)
            num_held += day.num_held
    with servers.scripted([servers.answer('{"sum": 85}')]) as base:
        day = Day(base)
        form = {"type": "json_schema", "name": "sum", "schema": SCHEMA, "strict": True}
        create(day, text={"format": form})
        create(day, text={"format": {"type": "json_object"}}, stream=True)
        num_held += day.num_held
    return f"{num_held} answers and events, 0 violations"


def check_a_connection():
    """The events of a connection are those of a stream."""
    with servers.scripted([ANSWER]) as base, openresponses.socket(base) as socket:
        day = Day(base)
        for body in [{"input": "hi"}, {"input": "hi", "store": False}, {"input": "hi", "max_output_tokens": 3}]:
            for event in socket.events(**body):
                day.hold("/components/schemas/ResponsesServerEvent", event)
            assert event["type"] in openresponses.LAST, event
        return f"{day.num_held} events, 0 violations"
