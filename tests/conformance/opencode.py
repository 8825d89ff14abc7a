"""opencode, as `gptoss launch` starts it, runs a scripted task of three calls to its end."""

import json
import os
import pathlib
import subprocess
import tempfile

import coding_agents
import servers


def check_run_makes_three_calls():
    if not coding_agents.opencode().is_file():
        return "NOT CHECKED: there is no opencode for this machine"
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "numbers"
        texts = [
            servers.call("bash", {"command": f"echo {number} >> {target}", "description": "Writes."}, f"Write {number}.")
            for number in range(3)
        ]
        texts.append(servers.answer("All three are written."))
        with servers.scripted(texts) as base:
            command = [os.environ["GPTOSS"], "launch", "opencode", "--url", base, "--", "run", "--format", "json", "Write three numbers."]
            done = subprocess.run(
                command, cwd=folder, env=coding_agents.environment(folder), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        said = [event["part"]["text"] for event in events if event["type"] == "text"]
        assert said == ["All three are written."], done.stdout[-3000:]
        assert sum(event["type"] == "tool_use" for event in events) == 3, done.stdout[-3000:]
        assert target.read_text().split() == ["0", "1", "2"]
