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
