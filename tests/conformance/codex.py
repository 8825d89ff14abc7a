"""Codex runs `exec` to the end: a task of five calls, by HTTP and over a WebSocket, and a repository whose test then passes."""

import os
import pathlib
import subprocess
import tempfile

import httpx

import coding_agents
import repository
import servers


def run_codex(base, folder, home, task, more=""):
    """What Codex prints of a task in a folder."""
    program = coding_agents.packages() / "@openai/codex/bin/codex.js"
    provider = f'{{name="gptoss", base_url="{base}/v1", wire_api="responses", request_max_retries=0, stream_max_retries=0{more}}}'
    command = [
        os.environ["NODE"], str(program), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
        # Nothing leaves this machine: no look for updates, no statistics.
        "-c", "check_for_update_on_startup=false", "-c", "analytics.enabled=false",
        "-c", "model_provider=gptoss", "-c", f"model_providers.gptoss={provider}", "-m", "scripted", task,
    ]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "CODEX_HOME": str(home)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=180)
    return done.stdout + done.stderr


def run_five_calls(more=""):
    with tempfile.TemporaryDirectory() as folder:
        target, home = pathlib.Path(folder) / "numbers", pathlib.Path(folder) / "home"
        home.mkdir()
        texts = [servers.call("exec_command", {"cmd": f"echo {number} >> {target}"}, f"Write {number}.") for number in range(5)]
        texts.append(servers.answer("All five are written."))
        with servers.scripted(texts) as base:
            told = run_codex(base, folder, home, "Write five numbers.", more)
            metrics = httpx.get(base + "/metrics").text
        assert "All five are written." in told, told[-6000:]
        assert target.read_text().split() == [str(number) for number in range(5)]
    return metrics


def check_exec_runs_five_calls():
    run_five_calls()


def check_exec_runs_five_calls_over_a_connection():
    metrics = run_five_calls(", supports_websockets=true")
    assert 'route="/v1/responses",status="101"' in metrics, "Codex opened no connection"


def check_exec_repairs_a_repository():
    """With Codex's own way of writing patches."""
    patch = "*** Begin Patch\n*** Update File: total.py\n@@\n-    return sum(range(1, n))\n+    return sum(range(1, n + 1))\n*** End Patch"
    commands = [*repository.LOOK, f"apply_patch <<'EOF'\n{patch}\nEOF", repository.TEST]
    texts = [servers.call("exec_command", {"cmd": command}) for command in commands]
    with tempfile.TemporaryDirectory() as folder:
        work, home = repository.broken(folder)
        with servers.scripted([*texts, servers.answer(repository.ANSWER)]) as base:
            told = run_codex(base, work, home, repository.TASK)
        assert repository.ANSWER in told, told[-6000:]
        assert repository.passes(work), told[-6000:]
