"""openai-agents through a tool loop of several turns, with streaming, over both APIs."""

import asyncio

import agents
import httpx
import openai
from agents.models.openai_responses import OpenAIResponsesWSModel

import servers

TEXTS = [
    servers.call("add", {"a": 1, "b": 2}),
    servers.call("add", {"a": 3, "b": 4}),
    servers.call("add", {"a": 7, "b": 5}),
    servers.answer("The sum is 12."),
]


@agents.function_tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


async def loop(base, model_class):
    agents.set_tracing_disabled(True)
    sdk = openai.AsyncOpenAI(base_url=base + "/v1", api_key="none", max_retries=0)
    agent = agents.Agent(
        name="Adder", instructions="Add.", tools=[add], model=model_class(model="scripted", openai_client=sdk))
    result = await agents.Runner.run(agent, "Add 1, 2, 4 and 5.")
    assert result.final_output == "The sum is 12.", result.final_output
    streamed = agents.Runner.run_streamed(agent, "Add 1, 2, 4 and 5.")
    calls = 0
    async for event in streamed.stream_events():
        if event.type == "run_item_stream_event" and event.name == "tool_called":
            calls += 1
    assert streamed.final_output == "The sum is 12." and calls == 3, (streamed.final_output, calls)
    follow = await agents.Runner.run(agent, streamed.to_input_list() + [{"role": "user", "content": "Again?"}])
    assert follow.final_output == "The sum is 12."


def check_responses():
    with servers.scripted(TEXTS) as base:
        asyncio.run(loop(base, agents.OpenAIResponsesModel))


def check_responses_over_a_connection():
    with servers.scripted(TEXTS) as base:
        asyncio.run(loop(base, OpenAIResponsesWSModel))
        opened = [line for line in httpx.get(base + "/metrics").text.splitlines() if 'route="/v1/responses",status="101"' in line]
        assert opened, "no connection was opened"


async def session(base):
    sdk = openai.AsyncOpenAI(base_url=base + "/v1", api_key="none", max_retries=0)
    kept = agents.OpenAIConversationsSession(openai_client=sdk)
    agent = agents.Agent(
        name="Adder", instructions="Add.", tools=[add], model=agents.OpenAIResponsesModel(model="scripted", openai_client=sdk))
    assert (await agents.Runner.run(agent, "Add 1, 2, 4 and 5.", session=kept)).final_output == "The sum is 12."
    before = await kept.get_items()
    popped = await kept.pop_item()
    assert popped["type"] == "message" and len(await kept.get_items()) == len(before) - 1
    assert (await agents.Runner.run(agent, "Again?", session=kept)).final_output == "The sum is 12."
    await kept.clear_session()


def check_conversations_session():
    with servers.scripted(TEXTS) as base:
        asyncio.run(session(base))


def check_chat():
    with servers.scripted(TEXTS) as base:
        asyncio.run(loop(base, agents.OpenAIChatCompletionsModel))


BUILT_IN = [
    servers.own("browser.search", '{"query": "otters"}'), servers.own("browser.open", '{"id": 0}'), servers.own("browser.find", '{"pattern": "fish"}'),
    servers.own("python", "print(1 + 2)"), servers.call("add", {"a": 3, "b": 4}), servers.answer("They eat 7 fish 【1†L1-L2】."),
]
KINDS = ["web_search_call"] * 3 + ["code_interpreter_call", "function_call", "function_call_output", "message"]


async def built_in_tools(base):
    agents.set_tracing_disabled(True)
    sdk = openai.AsyncOpenAI(base_url=base + "/v1", api_key="none", max_retries=0)
    interpreter = agents.CodeInterpreterTool(tool_config={"type": "code_interpreter", "container": {"type": "auto"}})
    agent = agents.Agent(
        name="Reader", instructions="Look it up.", tools=[agents.WebSearchTool(), interpreter, add],
        model=agents.OpenAIResponsesModel(model="scripted", openai_client=sdk),
        model_settings=agents.ModelSettings(response_include=["web_search_call.action.sources", "code_interpreter_call.outputs"]))
    whole = await agents.Runner.run(agent, "What do otters eat?")
    streamed = agents.Runner.run_streamed(agent, "What do otters eat?")
    names = [event.name async for event in streamed.stream_events() if event.type == "run_item_stream_event"]
    assert names.count("tool_called") == 5 and names.count("tool_output") == 1, names
    for result in (whole, streamed):
        assert result.final_output == "They eat 7 fish  ([site-1.example](https://site-1.example/page)) .", result.final_output
        items = [item.raw_item for item in result.new_items if item.type != "reasoning_item"]
        items = [item if isinstance(item, dict) else item.to_dict() for item in items]
        assert [item["type"] for item in items] == KINDS, items
        actions = [item["action"]["type"] for item in items[:3]]
        assert actions == ["search", "open_page", "find_in_page"], actions
        assert items[0]["action"]["sources"] and "print(1 + 2)" in items[3]["outputs"][0]["logs"], items
        assert items[-1]["content"][0]["annotations"][0]["url"] == "https://site-1.example/page", items[-1]


def check_built_in_tools():
    with servers.scripted(BUILT_IN) as base:
        asyncio.run(built_in_tools(base))
