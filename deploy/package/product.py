"""What is packaged: the program, what stands beside it, and the words that every kind of package says of it."""

import dataclasses
import functools
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "gptoss"
SUMMARY = "OpenAI's open-weight gpt-oss models from one binary: chat, serve OpenAI's and Anthropic's APIs, measure"
LICENSE = "Apache-2.0"
SHELLS = ("bash", "zsh", "fish")

# What each triple is called by those who install.
#   (wheel's machine, npm's os, npm's cpu, Debian's architecture)
TARGETS = {
    "x86_64-unknown-linux-gnu": ("x86_64", "linux", "x64", "amd64"),
    "aarch64-unknown-linux-gnu": ("aarch64", "linux", "arm64", "arm64"),
}


@dataclasses.dataclass
class Product:
    """A program for one target. `epoch` is the time of everything in a package: that of the commit."""

    binary: pathlib.Path
    target: str
    version: str
    epoch: int
    # Runs here and was built of the same commit; completions and manual pages are asked of it.
    generator: pathlib.Path

    @property
    def machine(self):
        return TARGETS[self.target]

    @functools.cached_property
    def program(self):
        return self.binary.read_bytes()

    @functools.cached_property
    def glibc(self):
        """The newest version of glibc of which the program wants a symbol: (2, 34)."""
        found = {tuple(map(int, match)) for match in re.findall(rb"GLIBC_(\d+)\.(\d+)", self.program)}
        if not found:
            raise SystemExit(f"{self.binary} asks for no glibc: which system is it for?")
        return max(found)

    @functools.cached_property
    def completions(self):
        return {shell: self._run("completions", shell) for shell in SHELLS}

    @functools.cached_property
    def manual(self):
        """Pages by their name."""
        with tempfile.TemporaryDirectory() as folder:
            self._run("manual", folder)
            return {page.name: page.read_bytes() for page in sorted(pathlib.Path(folder).iterdir())}

    def _run(self, *arguments):
        return subprocess.run([self.generator, *arguments], check=True, stdout=subprocess.PIPE).stdout


def repository(path):
    return (ROOT / path).read_bytes()
