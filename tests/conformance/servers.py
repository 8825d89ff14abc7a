"""Starts the servers that the checks speak to, and stops them."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile


def _address(process, pattern):
    for line in process.stdout:
        found = re.search(pattern, line)
        if found:
            return found.group(1)
    raise RuntimeError("the server ended before it listened")


@contextlib.contextmanager
def _running(command, pattern):
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield "http://" + _address(process, pattern)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdout.close()


def demo(*flags):
    """The demo model behind the real engine."""
    command = [os.environ["GPTOSS"], "serve", "--port", "0", "--drain-timeout", "5", *flags]
    return _running(command, r"served at http://([0-9.:]+)/v1")


@contextlib.contextmanager
def scripted(texts):
    """A server whose model says `texts`: text N to a prompt with N calls in it. Its tools answer as a test foresees."""
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder) / "script.json"
        script.write_text(json.dumps(texts))
        with _running([os.environ["SCRIPTED"], "0", str(script)], r"listening on ([0-9.:]+)") as base:
            yield base


def thought(text):
    return f"<|channel|>analysis<|message|>{text}<|end|><|start|>assistant"


def answer(text, reasoning="Think."):
    return thought(reasoning) + f"<|channel|>final<|message|>{text}<|return|>"


def own(recipient, text, reasoning="Call it."):
    """A call of a tool that the server runs."""
    return thought(reasoning) + f"<|channel|>analysis to={recipient} code<|message|>{text}<|call|>"


def call(name, arguments, reasoning="Call it."):
    body = json.dumps(arguments) if not isinstance(arguments, str) else arguments
    return thought(reasoning) + f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{body}<|call|>"
