"""The official SDKs through a gateway: to a second server of this program's, in its own dialect and in others."""

import contextlib
import pathlib
import tempfile

import anthropic
import openai

import servers

QUESTION = [{"role": "user", "content": "What is 27 + 58?"}]


@contextlib.contextmanager
def gateway():
    """A server with the demo as its own model, and a second one behind it under three names."""
    with servers.demo() as behind, tempfile.TemporaryDirectory() as folder:
        plan = pathlib.Path(folder) / "gateway.toml"
        table = '[[upstreams]]\nname = "{0}"\nbase_url = "{1}/v1"\nmodels = {{ {0}-demo = "demo" }}\nlabel_max = "internal"\n{2}\n'
        plan.write_text("".join([
            table.format("plain", behind, ""),
            table.format("chat", behind, "chat_only = true"),
            table.format("claude", behind, 'kind = "anthropic"'),
        ]))
        with servers.demo("--gateway", str(plan)) as base:
            yield base


def client(base):
    return openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0, timeout=120)


def check_gateway_models():
    with gateway() as base:
        owners = {model.id: model.owned_by for model in client(base).models.list()}
        assert owners == {"demo": "gptoss", "plain-demo": "plain", "chat-demo": "chat", "claude-demo": "claude"}, owners


def check_gateway_chat():
    with gateway() as base:
        sdk = client(base)
        for model in ["plain-demo", "chat-demo", "claude-demo"]:
            raw = sdk.chat.completions.with_raw_response.create(model=model, messages=QUESTION)
            assert raw.headers["x-route"] == model.split("-")[0], raw.headers
            body = raw.parse()
            assert "85" in body.choices[0].message.content, body
            assert body.usage.completion_tokens > 0, body.usage
            chunks = list(sdk.chat.completions.create(
                model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}))
            said = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
            assert "85" in said and chunks[-1].usage.prompt_tokens > 0, (said, chunks[-1])


def check_gateway_responses():
    with gateway() as base:
        sdk = client(base)
        for model in ["plain-demo", "chat-demo", "claude-demo"]:
            body = sdk.responses.create(model=model, input="What is 27 + 58?", store=False)
            assert "85" in body.output_text and body.usage.output_tokens > 0, body
            with sdk.responses.stream(model=model, input="What is 27 + 58?", store=False) as stream:
                final = [event for event in stream][-1]
            assert final.type == "response.completed" and "85" in final.response.output_text, final


def check_gateway_messages():
    with gateway() as base:
        sdk = anthropic.Anthropic(base_url=base, api_key="none", max_retries=0, timeout=120)
        for model in ["plain-demo", "chat-demo", "claude-demo"]:
            body = sdk.messages.create(model=model, max_tokens=512, messages=QUESTION)
            assert any(block.type == "text" and "85" in block.text for block in body.content), body
            with sdk.messages.stream(model=model, max_tokens=512, messages=QUESTION) as stream:
                final = stream.get_final_message()
            assert any(block.type == "text" and "85" in block.text for block in final.content), final


def check_gateway_labels():
    with gateway() as base:
        sdk = client(base)
        try:
            sdk.chat.completions.create(model="plain-demo", messages=QUESTION, extra_headers={"x-gptoss-sensitivity": "local_only"})
            raise AssertionError("it left")
        except openai.InternalServerError as error:
            assert error.status_code == 503 and error.code == "local_only", error
        body = sdk.chat.completions.create(model="demo", messages=QUESTION, extra_headers={"x-gptoss-sensitivity": "local_only"})
        assert "85" in body.choices[0].message.content
