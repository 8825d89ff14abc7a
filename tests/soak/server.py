"""A server with the demo model, and what can be seen of it from outside."""

import asyncio
import pathlib
import re
import signal
import subprocess
import tempfile
import threading

import clients

# How long a start and a stop may take. Units: seconds.
PATIENCE = 120
# Between two looks at a server that is to fall idle, and for how long. Units: seconds.
LOOK_PAUSE, IDLE_PATIENCE = 0.1, 60
GAUGES = ("gptoss_turns_running", "gptoss_engine_sequences_running", "gptoss_engine_requests_queued")


class Server:
    """A running server; its standard error is kept for what it says when it fails."""

    def __init__(self, program, *flags):
        command = [str(program), "serve", "--model", "demo", "--port", "0", "--quiet", *map(str, flags)]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            self.port = self.read_port()
        finally:
            watch.cancel()

    def read_port(self):
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/v1", line):
                return int(found.group(1))
        self.process.wait()
        raise SystemExit(f"the server did not start: {self.said()}")

    def said(self):
        self.errors.seek(0)
        return self.errors.read().strip()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Whatever it does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def files(self):
        """Open files."""
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory(self):
        """What it holds of its own, without what is mapped from files. Units: bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1)) << 10

    async def metrics(self):
        _, page = await clients.fetch(self.port, "/metrics")
        return {name: float(value) for name, value in re.findall(r"^(gptoss_\w+) (\S+)$", page, re.M)}

    async def idle(self, files):
        """The metrics when nothing runs and no more than `files` are open, or as they are when that takes too long."""
        end = asyncio.get_running_loop().time() + IDLE_PATIENCE
        while True:
            found = await self.metrics()
            is_idle = all(found[name] == 0 for name in GAUGES) and self.files() <= files
            if is_idle or asyncio.get_running_loop().time() > end:
                return found
            await asyncio.sleep(LOOK_PAUSE)
