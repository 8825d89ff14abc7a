"""The coding agents of the Node packages as programs on a PATH, kept to this machine."""

import os
import pathlib

# No look for updates, no lists of models, no statistics, no reports.
QUIET = [
    "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD",
]


def packages():
    return pathlib.Path(os.environ["NODE_FOLDER"]) / "node_modules"


def claude():
    """The binary for this machine; its package's install script may not have run."""
    folder = packages() / "@anthropic-ai"
    found = [path for path in folder.glob("claude-code-linux-*/claude*") if path.is_file() and "musl" not in str(path)]
    return found[0] if found else folder / "claude-code/bin/claude.exe"


def opencode():
    """The binary; its package is for Linux on x86-64 alone."""
    return packages() / "opencode-linux-x64/bin/opencode"


def environment(folder):
    """The environment of an agent in a folder of its own: the programs in `bin`, a home, nobody listening where `serve` would."""
    programs, home = pathlib.Path(folder) / "bin", pathlib.Path(folder) / "home"
    programs.mkdir()
    (home / "codex").mkdir(parents=True)
    codex = programs / "codex"
    codex.write_text(f'#!/bin/sh\nexec "{os.environ["NODE"]}" "{packages()}/@openai/codex/bin/codex.js" "$@"\n')
    codex.chmod(0o755)
    (programs / "claude").symlink_to(claude())
    (programs / "opencode").symlink_to(opencode())
    return {
        "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home), "CODEX_HOME": str(home / "codex"), "GPTOSS_PORT": "1",
        **dict.fromkeys(QUIET, "1"),
    }
