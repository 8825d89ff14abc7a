"""A small repository with a test that fails, and what a coding agent runs to repair it."""

import os
import pathlib
import shlex
import subprocess
import sys

FILES = {
    "total.py": 'def total(n):\n    """The sum of 1 to n."""\n    return sum(range(1, n))\n',
    "test_total.py": (
        "import unittest\nfrom total import total\n\n\nclass Total(unittest.TestCase):\n"
        "    def test_ten(self):\n        self.assertEqual(total(10), 55)\n"
    ),
}
TASK = "The test of total fails. Repair it."
UNITTEST = [sys.executable, "-B", "-m", "unittest", "-q"]
TEST = shlex.join(UNITTEST)
LOOK = ["ls", TEST, "cat total.py"]
REPAIR = "sed -i 's/range(1, n)/range(1, n + 1)/' total.py"
ANSWER = "The bound was one too small; the test passes now."


def passes(folder):
    return subprocess.run(UNITTEST, cwd=folder, capture_output=True, timeout=60).returncode == 0


def broken(folder):
    """The repository in a folder of its own, a home beside it; its test fails."""
    repository, home = pathlib.Path(folder) / "repository", pathlib.Path(folder) / "home"
    repository.mkdir()
    home.mkdir()
    for name, text in FILES.items():
        (repository / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True, env={**os.environ, "HOME": str(home)}, timeout=60)
    assert not passes(repository)
    return repository, home
