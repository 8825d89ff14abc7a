"""litellm and pydantic-ai each call a tool and parse a schema."""

import pydantic

import servers

TEXTS = [servers.call("add", {"a": 1, "b": 2}), servers.answer("It is 3.")]


class Sum(pydantic.BaseModel):
    result: int


def check_litellm():
    import litellm

    litellm.suppress_debug_info = True
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}}
    with servers.scripted(TEXTS) as base:
        ask = dict(model="openai/scripted", api_base=base + "/v1", api_key="none", tools=[tool])
        messages = [{"role": "user", "content": "1 + 2?"}]
        first = litellm.completion(messages=messages, **ask).choices[0].message
        assert first.tool_calls[0].function.name == "add" and first.reasoning_content
        messages += [first.model_dump(), {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "3"}]
        assert litellm.completion(messages=messages, **ask).choices[0].message.content == "It is 3."
        streamed = litellm.completion(messages=messages, stream=True, **ask)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "It is 3."
    with servers.scripted([servers.answer('{"result": 3}')]) as base:
        body = litellm.completion(
            model="openai/scripted", api_base=base + "/v1", api_key="none",
            messages=[{"role": "user", "content": "1 + 2?"}], response_format=Sum)
        assert Sum.model_validate_json(body.choices[0].message.content).result == 3


def check_pydantic_ai():
    import pydantic_ai
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    for model_class in [OpenAIChatModel, OpenAIResponsesModel]:
        with servers.scripted(TEXTS) as base:
            provider = OpenAIProvider(base_url=base + "/v1", api_key="none")
            agent = pydantic_ai.Agent(model_class("scripted", provider=provider))

            @agent.tool_plain
            def add(a: int, b: int) -> int:
                return a + b

            assert agent.run_sync("1 + 2?").output == "It is 3."
        with servers.scripted([servers.answer('{"result": 3}')]) as base:
            provider = OpenAIProvider(base_url=base + "/v1", api_key="none")
            agent = pydantic_ai.Agent(
                model_class("scripted", provider=provider), output_type=pydantic_ai.NativeOutput(Sum))
            assert agent.run_sync("1 + 2?").output.result == 3
