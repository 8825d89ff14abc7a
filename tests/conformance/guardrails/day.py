"""A day of openai-guardrails' own examples against `gptoss serve --guard`, started by `run` in a network whose packets are recorded.

    day.py GPTOSS SOURCE

Every example in the source's examples/basic runs as it is but those that need what is elsewhere (LEFT_OUT), and so do the README's two
snippets. (Of its other examples one needs a store of OpenAI's, and five have a file of a form that the package itself no longer reads.)
At the end a server without a guard is asked: the package then turns to api.openai.com, and the recorder has to see it.
"""

import contextlib
import json
import os
import pathlib
import re
import runpy
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request

# The port that examples/basic/local_model.py asks.
PORT = 11434
BASE = f"http://127.0.0.1:{PORT}/v1"
# The longest that an example may take, and that a server may take to listen. Units: seconds.
EXAMPLE_SECONDS_MAX, START_SECONDS_MAX = 300, 60
OWN_ADDRESS = "10.9.9.2"

SUM, LINK = "What is 17 + 68?", "See http://evil.example/"
# What each example says of an answer, or of a guardrail that triggers; the demo judges, so that either may be.
ANSWERED = r"Assistant output: |Guardrail .*triggered"
EXAMPLES = {
    "hello_world": (ANSWERED, [r"Exiting the program"]),
    "local_model": (ANSWERED, [r"Exiting the program"]),
    "multi_bundle": (ANSWERED, [r"Goodbye"]),
    "suppress_tripwire": (r"Assistant output:", [r"Guardrail 'Moderation' passed", r"Guardrail 'URL Filter' triggered", r"Exiting the program"]),
    "structured_outputs_example": (r"Successfully extracted|Guardrail triggered", [r"Exiting"]),
    "multiturn_chat_with_alignment": (r"─ Assistant ─|Guardrail Tripwire|triggered", [r"PRE_FLIGHT · Prompt Injection Detection"]),
}
LEFT_OUT = {
    "agents_sdk": "Contains PII loads a model of spaCy that no registry of Python has",
    "pii_mask_example": "the same",
    "azure_implementation": "it asks Azure by Azure's own paths",
}
POLICY = """
[[policy]]
name = "{name}"
file = "{name}.txt"
category = "{name}"
threshold = {threshold}
stages = []
"""


class Recorder:
    """Every packet of the network that is not for this machine, until it ends."""

    def __init__(self):
        all_kinds = 3
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(all_kinds))
        self.socket.settimeout(0.1)
        self.is_over, self.seen = threading.Event(), set()
        self.thread = threading.Thread(target=self.record)
        self.thread.start()

    def record(self):
        while True:
            try:
                self.seen.update(told(self.socket.recv(256)))
            except TimeoutError:
                if self.is_over.is_set():
                    return

    def end(self):
        self.is_over.set()
        self.thread.join()
        self.socket.close()
        return sorted(self.seen)


def told(frame):
    """Where a packet goes that leaves the machine."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        to, begin = socket.inet_ntoa(frame[30:34]), 14 + (frame[14] & 15) * 4
        if not to.startswith("127.") and to != OWN_ADDRESS:
            port = struct.unpack("!H", frame[begin + 2:begin + 4])[0]
            yield f"protocol {frame[23]} to {to}:{port}"
    elif kind == b"\x86\xdd":
        to = socket.inet_ntop(socket.AF_INET6, frame[38:54])
        if to != "::1":
            yield f"IPv6 to {to}"
    else:
        yield f"a frame of kind {kind.hex()}"


@contextlib.contextmanager
def serving(gptoss, folder, *flags):
    """The demo under every model's name; the log of its requests is in `log` of the folder."""
    command = [gptoss, "serve", "--model", "demo", "--alias", "*", "--port", str(PORT), *flags]
    log = folder / "log"
    with open(log, "w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    watch = threading.Timer(START_SECONDS_MAX, process.kill)
    watch.start()
    try:
        assert any(BASE in line for line in process.stdout), f"the server did not start: {log.read_text()}"
        watch.cancel()
        yield log
    finally:
        watch.cancel()
        process.terminate()
        process.wait()
        process.stdout.close()


def guard(folder, threshold, more=""):
    """A file of policies for the two categories that the examples ask for."""
    policies = [POLICY.format(name=name, threshold=threshold) for name in ("hate", "violence")]
    for name in ("hate", "violence"):
        (folder / f"{name}.txt").write_text(f"No content of {name} (C1).")
    file = folder / "guard.toml"
    file.write_text(more + "".join(policies))
    return ["--guard", str(file)]


def run(script, lines, folder, base=BASE):
    """What a program says to these lines of input; it has to end well."""
    environment = {**os.environ, "OPENAI_API_KEY": "none", "OPENAI_AGENTS_DISABLE_TRACING": "1", "COLUMNS": "400"}
    environment.pop("OPENAI_BASE_URL", None)
    if base:
        environment["OPENAI_BASE_URL"] = base
    command = [sys.executable, script]
    done = subprocess.run(
        command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, env=environment, cwd=folder, timeout=EXAMPLE_SECONDS_MAX)
    assert done.returncode == 0, f"{script} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def check_requests(log, routes):
    """Every request of a package's was answered, those of `routes` among them."""
    requests = re.findall(r" (POST|GET) (/\S+) (\d{3}) (.*)", log.read_text())
    # 400: a conversation longer than the demo's context. 499: the package drops what runs beside a guardrail that triggered.
    odd = [request for request in requests if request[2] not in ("200", "400", "499")]
    assert not odd, odd
    for route in routes:
        assert any(path == route and status == "200" for _, path, status, _ in requests), f"{route} was never asked: {requests}"


def check_examples(gptoss, folder, examples):
    known = {path.stem for path in examples.glob("*.py")}
    assert known == EXAMPLES.keys() | LEFT_OUT.keys(), f"the package has other examples: {known}"
    with serving(gptoss, folder, *guard(folder, 1.0)) as log:
        for name, (outcome, also) in EXAMPLES.items():
            lines = [SUM, LINK, *(["exit"] if "alignment" in name else [])]
            said = run(examples / f"{name}.py", lines, folder)
            outcomes = re.findall(outcome, said)
            assert len(outcomes) >= 2, f"{name} said too little: {said}"
            for pattern in also:
                assert re.search(pattern, said), f"{name} did not say {pattern}: {said}"
            print(f"ok     {name}: {len(outcomes)} outcomes", flush=True)
    check_requests(log, ["/v1/responses", "/v1/chat/completions", "/v1/moderations"])
    for name, why in LEFT_OUT.items():
        print(f"left   {name}: {why}")


def check_moderation(gptoss, folder, examples):
    """A policy that every text violates: their check Moderation hears of it from us."""
    with serving(gptoss, folder, *guard(folder, 0.0)):
        said = run(examples / "hello_world.py", [SUM], folder)
        assert re.search(r"Guardrail triggered in stage 'pre_flight'.*'Moderation'", said, re.DOTALL) and "Assistant output" not in said, said
    print("ok     hello_world is blocked by a policy of --guard", flush=True)


def check_readme(gptoss, folder, source):
    """The README's snippets, with a file as the wizard writes it."""
    snippets = re.findall(r"```python\n(.*?)```", (source / "README.md").read_text(), re.DOTALL)
    assert len(snippets) == 2, f"the README has {len(snippets)} snippets"
    config = runpy.run_path(str(source / "examples/basic/hello_world.py"))["PIPELINE_CONFIG"]
    (folder / "guardrails_config.json").write_text(json.dumps(config))
    with serving(gptoss, folder, *guard(folder, 1.0)) as log:
        for number, snippet in enumerate(snippets):
            script = folder / f"snippet{number}.py"
            script.write_text(snippet)
            said = run(script, [], folder)
            assert said.strip(), f"snippet {number} said nothing"
            print(f"ok     README, snippet {number + 1}: {said.strip().splitlines()[0]}", flush=True)
    check_requests(log, ["/v1/chat/completions", "/v1/moderations"])


def check_configuration(gptoss, folder, examples):
    """An example's own configuration as a file of the server's: its URL Filter blocks here."""
    config = runpy.run_path(str(examples / "multi_bundle.py"))["PIPELINE_CONFIG"]
    (folder / "rails.json").write_text(json.dumps(config))
    with serving(gptoss, folder, *guard(folder, 1.0, 'guardrails = "rails.json"\n')):
        body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": LINK}]}
        request = urllib.request.Request(f"{BASE}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=EXAMPLE_SECONDS_MAX))
        assert answer["choices"][0]["finish_reason"] == "content_filter" and "URL Filter" in json.dumps(answer), answer
    print("ok     multi_bundle's own configuration blocks in the server", flush=True)


def main(gptoss, source):
    source = pathlib.Path(source)
    examples = source / "examples/basic"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        recorder = Recorder()
        try:
            check_examples(gptoss, folder, examples)
            check_moderation(gptoss, folder, examples)
            check_readme(gptoss, folder, source)
            check_configuration(gptoss, folder, examples)
        finally:
            seen = recorder.end()
        assert not seen, f"packets left: {seen}"
        print("ok     no packet left")

        # Without a guard there is no /v1/moderations, and the package looks for OpenAI's.
        recorder = Recorder()
        try:
            with serving(gptoss, folder):
                run(examples / "local_model.py", [SUM], folder, base=None)
        finally:
            seen = recorder.end()
        assert seen, "the recorder sees nothing, where the package asks api.openai.com"
        print(f"ok     without a guard the recorder sees {', '.join(seen)}")


main(*sys.argv[1:])
