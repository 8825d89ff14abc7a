"""A server with the demo model, and what can be seen of it from outside."""

import asyncio
import pathlib
import re
import signal
import sys

import clients

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from demo_server import DemoServer

# How long a start and a stop may take. Units: seconds.
PATIENCE = 120
# Between two looks at a server that is to fall idle, and for how long. Units: seconds.
LOOK_PAUSE, IDLE_PATIENCE = 0.1, 60
GAUGES = ("gptoss_turns_running", "gptoss_engine_sequences_running", "gptoss_engine_requests_queued")


class Server(DemoServer):
    """A running server, and what can be seen of it."""

    patience, failure = PATIENCE, SystemExit

    def __init__(self, program, *flags):
        super().__init__(program, "--quiet", *flags)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

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
