"""The tests of the Open Responses compliance suite, written anew: every field there, every event of its shape."""

import json

import httpx

import servers

FIELDS = """id object created_at completed_at status incomplete_details model previous_response_id instructions output error tools
tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs temperature reasoning usage
max_output_tokens max_tool_calls store background service_tier metadata safety_identifier prompt_cache_key""".split()
TOOL = {"type": "function", "name": "get_weather", "description": "Weather.", "parameters": {
    "type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}}


def complete(response):
    missing = [field for field in FIELDS if field not in response]
    assert not missing, missing
    assert response["object"] == "response" and response["usage"]["total_tokens"] > 0
    for name in ("input_tokens_details", "output_tokens_details"):
        assert isinstance(response["usage"][name], dict)
    for item in response["output"]:
        assert item["id"] and item["type"] and item["status"] in ("completed", "incomplete"), item
        if item["type"] == "message":
            part = item["content"][0]
            assert item["role"] == "assistant" and part["type"] == "output_text"
            assert part["annotations"] == [] and isinstance(part["logprobs"], list)
    return response


def post(base, **body):
    response = httpx.post(base + "/v1/responses", json={"model": "scripted", **body}, timeout=60)
    assert response.status_code == 200, response.text
    return complete(response.json())


def stream(base, **body):
    events = []
    with httpx.stream("POST", base + "/v1/responses", json={"model": "scripted", "stream": True, **body}, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        name = None
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: ") and line != "data: [DONE]":
                event = json.loads(line[6:])
                assert event["type"] == name and event["sequence_number"] == len(events), event
                events.append(event)
        assert line == "" or line == "data: [DONE]"
    complete(events[-1]["response"])
    return events


ANSWER = [servers.answer("Hello, world.")]


def check_basic_response():
    with servers.scripted(ANSWER) as base:
        assert post(base, input=[{"type": "message", "role": "user", "content": "Say hello."}])["status"] == "completed"


def check_streaming_response():
    with servers.scripted(ANSWER) as base:
        events = stream(base, input=[{"type": "message", "role": "user", "content": "Count."}])
        assert events[0]["type"] == "response.created" and events[-1]["type"] == "response.completed"


def check_system_prompt():
    with servers.scripted(ANSWER) as base:
        post(base, input=[{"type": "message", "role": "system", "content": "Be a pirate."},
                          {"type": "message", "role": "user", "content": "Hello."}])


def check_tool_calling():
    with servers.scripted([servers.call("get_weather", {"location": "Oslo"})]) as base:
        body = post(base, input="Weather in Oslo?", tools=[TOOL])
        call = body["output"][-1]
        assert call["type"] == "function_call" and json.loads(call["arguments"]) == {"location": "Oslo"}
        assert set(body["tools"][0]) >= {"type", "name", "description", "parameters", "strict"}
        events = stream(base, input="Weather in Oslo?", tools=[TOOL])
        deltas = "".join(e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta")
        done = [e for e in events if e["type"] == "response.function_call_arguments.done"]
        assert deltas == done[0]["arguments"] == call["arguments"]


def check_images_are_refused_by_name():
    with servers.scripted(ANSWER) as base:
        content = [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]
        response = httpx.post(base + "/v1/responses", json={"input": [{"role": "user", "content": content}]})
        assert response.status_code == 400 and response.json()["error"]["param"] == "input[0].content[0].type"


def check_multi_turn():
    with servers.scripted(ANSWER) as base:
        post(base, input=[{"type": "message", "role": "user", "content": "I am Alice."},
                          {"type": "message", "role": "assistant", "content": "Hello, Alice."},
                          {"type": "message", "role": "user", "content": "Who am I?"}])
        first = post(base, input="I am Alice.")
        post(base, input="Who am I?", previous_response_id=first["id"])


def check_compact():
    with servers.scripted(ANSWER) as base:
        compacted = httpx.post(base + "/v1/responses/compact", json={"input": "I am Alice."}).json()
        assert compacted["object"] == "response.compaction" and compacted["output"][-1]["type"] == "compaction"
        post(base, input=compacted["output"] + [{"role": "user", "content": "Who am I?"}])
