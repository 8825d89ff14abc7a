"""OpenAI's and Anthropic's SDKs for Node, openai-agents for Node and the AI SDK, each in a small program of its own."""

import json
import os
import pathlib
import subprocess

import servers

HERE = pathlib.Path(__file__).parent


def node(program, base, model="scripted"):
    folder = pathlib.Path(os.environ["NODE_FOLDER"])
    # Node looks for packages from the program's own folder upwards.
    copy = folder / program
    copy.write_text((HERE / program).read_text())
    done = subprocess.run(
        [os.environ["NODE"], str(copy)], env={**os.environ, "BASE_URL": base + "/v1", "MODEL": model},
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


LOOP = [servers.call("add", {"a": 1, "b": 2}), servers.call("add", {"a": 3, "b": 4}), servers.answer("The sum is 7.")]


def check_openai():
    with servers.scripted([servers.call("add", {"a": 1, "b": 2}), servers.answer('{"result": 3}')]) as base:
        node("openai_sdk.mjs", base)


def check_agents():
    with servers.scripted(LOOP) as base:
        node("agents_sdk.mjs", base)


def check_anthropic():
    with servers.scripted([servers.call("add", {"a": 1, "b": 2}), servers.answer("It is 3.")]) as base:
        node("anthropic_sdk.mjs", base)


def check_ai_sdk():
    with servers.scripted([servers.call("add", {"a": 1, "b": 2}), servers.answer("It is 3.")]) as base:
        node("ai_sdk.mjs", base)
    with servers.scripted([servers.answer(json.dumps({"result": 3}))]) as base:
        node("ai_sdk_schema.mjs", base)
