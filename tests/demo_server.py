"""`gptoss serve` with the demo model on a free port of 127.0.0.1, for the checks that treat it badly."""

import os
import re
import subprocess
import tempfile
import threading


class DemoServer:
    """A running server; its standard error is kept for what it says when it fails."""

    # How long a start may take, and what a failed one raises. Units: seconds.
    patience, failure = 60, RuntimeError

    def __init__(self, program, *flags, before=(), environment=None):
        command = [*before, str(program), "serve", "--model", "demo", "--port", "0", *map(str, flags)]
        self.errors = tempfile.TemporaryFile("w+")
        environment = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment)
        self.port = self.read_port()

    def read_port(self):
        watch = threading.Timer(self.patience, self.process.kill)
        watch.start()
        try:
            for line in self.process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:(\d+)/v1", line):
                    return int(found.group(1))
        finally:
            watch.cancel()
        self.kill()
        raise self.failure(f"the server did not start: {self.said()}")

    def said(self):
        """What it wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read().strip()

    def kill(self):
        """Sends SIGKILL; false if the process had ended by itself."""
        was_running = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        return was_running
