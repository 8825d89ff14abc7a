"""Thirty cases in the style of OpenAI's gpt-oss compatibility test, five tries each, both APIs: shapes and arguments.

The scripted server shows that every shape is right; the demo model shows how often the right tool is called with arguments that fit.
"""

import json
import os

import httpx
import jsonschema

import servers

TRIES = int(os.environ.get("COMPATIBILITY_TRIES", "5"))
# The demo model should call the right tool in this share of the cases.
RIGHT_MIN = 0.9
# A seeded request gives the same answer on every machine, so the share does not change by chance.
SEED = int(os.environ.get("COMPATIBILITY_SEED", "1"))


def tool(name, description, /, **properties):
    parameters = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}, "required": list(properties), "additionalProperties": False}
    return {"name": name, "description": description, "parameters": parameters, "strict": True}


WEATHER = tool("get_weather", "Get the weather for a location", location="string")
CLOCK = tool("get_time", "Get the local time.", city="string")
CURRENCY = tool("convert_currency", "Convert an amount from one currency to another.", **{"amount": "number", "from": "string", "to": "string"})
SEARCH = tool("web_search", "Search the web.", query="string")
EMAIL = tool("send_email", "Send an email.", to="string", subject="string", body="string")
EVENT = tool("create_event", "Create a calendar event.", title="string", date="string", time="string")
STOCK = tool("get_stock_price", "Get the price of a stock.", symbol="string")
TIMER = tool("set_timer", "Set a timer.", minutes="integer")
TRANSLATE = tool("translate", "Translate a text.", text="string", language="string")
TABLE = tool("book_table", "Book a table in a restaurant.", restaurant="string", people="integer", time="string")

# As there: a request in plain words, the one tool that it is about, and the arguments that it names.
CASES = [
    {"tool": tool, "question": question, "arguments": arguments}
    for tool, question, arguments in [
        (WEATHER, "What is the weather like in Paris today?", {"location": "Paris"}),
        (WEATHER, "Do I need an umbrella? Tell me the weather in Oslo.", {"location": "Oslo"}),
        (WEATHER, "How is the weather in Rome?", {"location": "Rome"}),
        (CLOCK, "What time is it in Tokyo?", {"city": "Tokyo"}),
        (CLOCK, "Please tell me the local time in Lisbon.", {"city": "Lisbon"}),
        (CLOCK, "I have a call with Sydney, what is the time there?", {"city": "Sydney"}),
        (CURRENCY, "How much is 100 USD in EUR?", {"amount": 100, "from": "USD", "to": "EUR"}),
        (CURRENCY, "Convert 25 GBP to JPY.", {"amount": 25, "from": "GBP", "to": "JPY"}),
        (CURRENCY, "Please convert 8 CHF into USD", {"amount": 8, "from": "CHF", "to": "USD"}),
        (SEARCH, "Search the web for rust compilers.", {"query": "rust compilers"}),
        (SEARCH, "Look up the height of Mont Blanc.", {"query": "the height of Mont Blanc"}),
        (SEARCH, "Find information about open models", {"query": "open models"}),
        (EMAIL, "Email ann@example.com, subject \"lunch\", body \"at noon\".", {"to": "ann@example.com", "subject": "lunch", "body": "at noon"}),
        (EMAIL, "Send an email to bob@example.org with subject report and body done.", {"to": "bob@example.org", "subject": "report", "body": "done"}),
        (EMAIL, "Please send joe@example.com an email. Subject: keys. Body: on the table.", {"to": "joe@example.com", "subject": "keys", "body": "on the table"}),
        (EVENT, "Create an event called standup on 2026-03-02 at 09:30.", {"title": "standup", "date": "2026-03-02", "time": "09:30"}),
        (EVENT, "Schedule review on 2026-05-11 at 14:00.", {"title": "review", "date": "2026-05-11", "time": "14:00"}),
        (EVENT, "Please create an event dinner on 2026-07-01 at 19:00.", {"title": "dinner", "date": "2026-07-01", "time": "19:00"}),
        (STOCK, "What is the stock price of ACME?", {"symbol": "ACME"}),
        (STOCK, "How is IBM stock doing?", {"symbol": "IBM"}),
        (STOCK, "Please get the price of NVDA stock.", {"symbol": "NVDA"}),
        (TIMER, "Set a timer for 10 minutes.", {"minutes": 10}),
        (TIMER, "Start a 25 minute timer.", {"minutes": 25}),
        (TIMER, "Can you set a timer for 3 minutes?", {"minutes": 3}),
        (TRANSLATE, "Translate good morning into French", {"text": "good morning", "language": "French"}),
        (TRANSLATE, "How do you say \"thank you\" in Italian?", {"text": "thank you", "language": "Italian"}),
        (TRANSLATE, "Please translate the red house to German.", {"text": "the red house", "language": "German"}),
        (TABLE, "Book a table for 4 at Luigi at 20:00.", {"restaurant": "Luigi", "people": 4, "time": "20:00"}),
        (TABLE, "Reserve a table at Noma for 2 people at 19:30.", {"restaurant": "Noma", "people": 2, "time": "19:30"}),
        (TABLE, "Could you book a table for 6 at Roma at 18:00?", {"restaurant": "Roma", "people": 6, "time": "18:00"}),
    ]
]


def chat(base, model, case):
    body = {"model": model, "messages": [{"role": "user", "content": case["question"]}], "tools": [{"type": "function", "function": case["tool"]}], "seed": SEED}
    answer = httpx.post(base + "/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]
    assert isinstance(message.get("reasoning"), str) and message["reasoning"], "no reasoning"
    calls = message.get("tool_calls") or []
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


def responses(base, model, case):
    body = {"model": model, "input": case["question"], "tools": [{"type": "function", **case["tool"]}], "store": False, "seed": SEED}
    answer = httpx.post(base + "/v1/responses", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    output = answer.json()["output"]
    assert output[0]["type"] == "reasoning" and output[0]["content"][0]["type"] == "reasoning_text", output[0]
    return [(item["name"], item["arguments"]) for item in output if item["type"] == "function_call"]


def fits(calls, case):
    if [name for name, _ in calls] != [case["tool"]["name"]]:
        return False
    try:
        jsonschema.validate(json.loads(calls[0][1]), case["tool"]["parameters"])
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def check_shapes():
    texts = 0
    for case in CASES:
        with servers.scripted([servers.call(case["tool"]["name"], case["arguments"])]) as base:
            for _ in range(TRIES):
                for ask in (chat, responses):
                    assert fits(ask(base, "scripted", case), case)
                    texts += 1
    return f"{texts} of {texts}"


def check_demo_calls_the_right_tool():
    right = exact = total = 0
    with servers.demo("--quiet") as base:
        for case in CASES:
            for ask in (chat, responses):
                calls = ask(base, "demo", case)
                total += 1
                if fits(calls, case):
                    right += 1
                    exact += json.loads(calls[0][1]) == case["arguments"]
    assert right >= RIGHT_MIN * total, f"{right} of {total}"
    return f"{right} of {total}, {exact} with the very arguments of the request"
