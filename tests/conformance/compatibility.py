"""Thirty cases in the style of OpenAI's gpt-oss compatibility test, five tries each, both APIs: shapes and arguments.

The scripted server shows that every shape is right; the demo model shows how often the right tool is called with arguments that fit.
"""

import json
import os

import httpx
import jsonschema

import servers

TRIES = int(os.environ.get("COMPATIBILITY_TRIES", "5"))
# The demo model should call the right tool in 90 of 100 cases; it is too small for that so far: 46 of 60 on 2026-11-23. Less than this
# share means that something broke.
RIGHT_MIN = 0.7


def string(*names):
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names), "additionalProperties": False}


WORDS = ["weather", "timer", "note", "music", "light", "door", "alarm", "route", "stock", "recipe"]
PLACES = ["Paris", "Oslo", "Rome"]
CASES = [
    {"tool": f"get_{word}", "parameters": string("city"), "question": f"Use get_{word} for {place}.", "arguments": {"city": place}}
    for word in WORDS
    for place in PLACES
]


def chat(base, model, case):
    tool = {"type": "function", "function": {"name": case["tool"], "description": f"The {case['tool'][4:]} of a city.", "parameters": case["parameters"], "strict": True}}
    body = {"model": model, "messages": [{"role": "user", "content": case["question"]}], "tools": [tool]}
    answer = httpx.post(base + "/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]
    assert isinstance(message.get("reasoning"), str) and message["reasoning"], "no reasoning"
    calls = message.get("tool_calls") or []
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


def responses(base, model, case):
    tool = {"type": "function", "name": case["tool"], "description": f"The {case['tool'][4:]} of a city.", "parameters": case["parameters"], "strict": True}
    body = {"model": model, "input": case["question"], "tools": [tool], "store": False}
    answer = httpx.post(base + "/v1/responses", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    output = answer.json()["output"]
    assert output[0]["type"] == "reasoning" and output[0]["content"][0]["type"] == "reasoning_text", output[0]
    return [(item["name"], item["arguments"]) for item in output if item["type"] == "function_call"]


def fits(calls, case):
    if [name for name, _ in calls] != [case["tool"]]:
        return False
    try:
        jsonschema.validate(json.loads(calls[0][1]), case["parameters"])
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def check_shapes():
    texts = 0
    for case in CASES:
        with servers.scripted([servers.call(case["tool"], case["arguments"])]) as base:
            for _ in range(TRIES):
                for ask in (chat, responses):
                    assert fits(ask(base, "scripted", case), case)
                    texts += 1
    return f"{texts} of {texts}"


def check_demo_calls_the_right_tool():
    right = total = 0
    with servers.demo("--quiet") as base:
        for case in CASES:
            for ask in (chat, responses):
                right += fits(ask(base, "demo", case), case)
                total += 1
    assert right >= RIGHT_MIN * total, f"{right} of {total}"
    return f"{right} of {total}; the aim is 9 of 10"
