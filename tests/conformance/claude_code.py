"""Claude Code's print mode runs a scripted task of three calls to its end, over the prefix cache's rules and all."""

import json
import os
import pathlib
import subprocess
import tempfile

import coding_agents
import servers


def environment(base, home):
    """Nothing leaves this machine: no look for updates, no statistics, no reports."""
    return {
        "PATH": os.environ["PATH"], "HOME": home, "CLAUDE_CONFIG_DIR": home + "/.claude", **dict.fromkeys(coding_agents.QUIET, "1"),
        "ANTHROPIC_BASE_URL": base, "ANTHROPIC_AUTH_TOKEN": "none", "ANTHROPIC_MODEL": "scripted",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "scripted", "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "65536",
    }


def check_print_mode_runs_three_calls():
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "numbers"
        texts = [
            servers.call("Bash", {"command": f"echo {number} >> {target}", "description": "Writes."}, f"Write {number}.")
            for number in range(3)
        ]
        texts.append(servers.answer("All three are written."))
        with servers.scripted(texts) as base:
            command = [str(coding_agents.claude()), "-p", "Write three numbers.", "--allowedTools", "Bash", "--output-format", "json"]
            done = subprocess.run(
                command, cwd=folder, env=environment(base, folder + "/home"), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        told = json.loads(done.stdout)
        assert told["result"] == "All three are written." and not told["is_error"], told
        assert told["usage"]["output_tokens"] > 0 and told["num_turns"] == 4, told
        assert target.read_text().split() == ["0", "1", "2"]
