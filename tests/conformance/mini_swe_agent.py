"""mini-swe-agent repairs a repository whose test then passes, over both APIs."""

import json
import os
import subprocess
import sys
import tempfile

import repository
import servers

SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


def repair(model_class):
    commands = [*repository.LOOK, repository.REPAIR, repository.TEST, SUBMIT]
    with tempfile.TemporaryDirectory() as folder, servers.scripted([servers.call("bash", {"command": each}) for each in commands]) as base:
        work, home = repository.broken(folder)
        settings = {"model.model_kwargs.api_base": f"{base}/v1", "model.model_kwargs.api_key": "none", "model.cost_tracking": "ignore_errors"}
        done = subprocess.run(
            [
                sys.executable, "-m", "minisweagent.run.mini", "--task", repository.TASK, "--yolo", "--exit-immediately",
                "--model", "openai/scripted", "--model-class", model_class, "--output", str(home / "run.json"),
                "-c", "mini.yaml", *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ],
            cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
            env={**os.environ, "HOME": str(home), "MSWEA_GLOBAL_CONFIG_DIR": str(home), "MSWEA_CONFIGURED": "true", "MSWEA_SILENT_STARTUP": "1"})
        told = done.stdout[-3000:] + done.stderr[-3000:]
        assert done.returncode == 0, told
        run = json.loads((home / "run.json").read_text())
        assert run["info"]["exit_status"] == "Submitted" and run["info"]["model_stats"]["api_calls"] == len(commands), told
        assert repository.passes(work), told


def check_chat():
    repair("litellm")


def check_responses():
    repair("litellm_response")
