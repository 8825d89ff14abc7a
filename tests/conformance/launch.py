"""`gptoss launch` as a whole: it starts a server, the agent asks the demo a question and prints the answer, and both are gone."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import httpx

import coding_agents

QUESTION = "What is 27 + 58?"
# The demo has 4,096 tokens: the agents' own instructions are left out, and of their tools those that can be.
INSTRUCTIONS = "Answer."


def launched(client, arguments, files):
    """What the agent prints, in a folder with these files."""
    with tempfile.TemporaryDirectory() as folder:
        environment = coding_agents.environment(folder)
        work = pathlib.Path(folder) / "work"
        work.mkdir()
        for name, text in files.items():
            (work / name).write_text(text)
        done = subprocess.run(
            [os.environ["GPTOSS"], "launch", client, "--", *arguments], cwd=work, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    base = re.search(rf"^{client} speaks to demo at (\S+)$", done.stderr, re.MULTILINE).group(1)
    try:
        httpx.get(base + "/health", timeout=5)
    except httpx.ConnectError:
        return done.stdout
    raise AssertionError(f"{base} still answers")


def answered(text):
    # The agents' prompts are none that the demo was made for: anything is an answer, but for nothing.
    assert text.strip(), "it answered nothing"
    return f"{QUESTION} {text.strip()}"


def check_codex():
    off = ["goals", "multi_agent", "shell_tool", "unified_exec", "view_image"]
    settings = [
        "check_for_update_on_startup=false", "analytics.enabled=false", 'model_instructions_file="instructions.md"',
        'web_search="disabled"', "skills.bundled.enabled=false", *(f"features.{name}=false" for name in off)]
    arguments = ["exec", "--skip-git-repo-check", "--sandbox", "read-only", *(word for setting in settings for word in ("-c", setting))]
    return answered(launched("codex", [*arguments, QUESTION], {"instructions.md": INSTRUCTIONS}))


def check_claude():
    arguments = ["-p", QUESTION, "--system-prompt", INSTRUCTIONS, "--tools", "", "--output-format", "json"]
    told = json.loads(launched("claude", arguments, {}))
    assert not told["is_error"], told
    return answered(told["result"])


def check_opencode():
    if not coding_agents.opencode().is_file():
        return "NOT CHECKED: there is no opencode for this machine"
    settings = {"agent": {"build": {"prompt": INSTRUCTIONS, "tools": {"*": False}}, "title": {"disable": True}}}
    return answered(launched("opencode", ["run", QUESTION], {"opencode.json": json.dumps(settings)}))
