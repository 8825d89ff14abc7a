"""Codex runs `exec` to the end of a scripted task of five calls, by HTTP and over a WebSocket."""

import os
import pathlib
import subprocess
import tempfile

import httpx

import servers


def run_five_calls(more=""):
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "numbers"
        texts = [servers.call("exec_command", {"cmd": f"echo {number} >> {target}"}, f"Write {number}.") for number in range(5)]
        texts.append(servers.answer("All five are written."))
        program = pathlib.Path(os.environ["NODE_FOLDER"]) / "node_modules/@openai/codex/bin/codex.js"
        with servers.scripted(texts) as base:
            provider = f'{{name="gptoss", base_url="{base}/v1", wire_api="responses", request_max_retries=0, stream_max_retries=0{more}}}'
            command = [
                os.environ["NODE"], str(program), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
                # Nothing leaves this machine: no look for updates, no statistics.
                "-c", "check_for_update_on_startup=false", "-c", "analytics.enabled=false",
                "-c", "model_provider=gptoss", "-c", f"model_providers.gptoss={provider}", "-m", "scripted", "Write five numbers.",
            ]
            home = pathlib.Path(folder) / "home"
            home.mkdir()
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, "CODEX_HOME": str(home)}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=180)
            metrics = httpx.get(base + "/metrics").text
        assert "All five are written." in done.stdout + done.stderr, done.stdout[-3000:] + done.stderr[-3000:]
        assert target.read_text().split() == [str(number) for number in range(5)]
    return metrics


def check_exec_runs_five_calls():
    run_five_calls()


def check_exec_runs_five_calls_over_a_connection():
    metrics = run_five_calls(", supports_websockets=true")
    assert 'route="/v1/responses",status="101"' in metrics, "Codex opened no connection"
