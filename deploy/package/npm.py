"""The npm packages: one with the program for each system, and `gptoss`, which starts the one that fits."""

import json

import product as words
import reproducible

LAUNCHER = """#!/usr/bin/env node
// Starts the program of the package that npm chose for this system, and is gone with it.
"use strict";
const { spawn } = require("node:child_process");

const name = `gptoss-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/gptoss`);
} catch {
  console.error(`gptoss: there is no program for ${process.platform} ${process.arch} (the package ${name} is not installed)`);
  process.exit(1);
}
const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
// A terminal's signals reach the child by themselves; a service manager's reach this process alone.
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
process.on("SIGINT", () => {});
child.on("error", (error) => {
  console.error(`gptoss: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
"""


def make_program(product):
    """(name, bytes) of the package for one system."""
    _, system, cpu, _ = product.machine
    name = f"{words.NAME}-{system}-{cpu}"
    manifest = {
        **described(name, product.version),
        "os": [system],
        "cpu": [cpu],
        "libc": ["glibc"],
        # Its file is asked for by its path.
        "files": ["bin/gptoss"],
        "preferUnplugged": True,
    }
    return packed(product, manifest, {"bin/gptoss": (product.program, 0o755)})


def make_launcher(product, systems):
    """(name, bytes) of the package that people name; `systems` are (os, cpu)."""
    programs = {f"{words.NAME}-{system}-{cpu}": product.version for system, cpu in systems}
    manifest = {
        **described(words.NAME, product.version),
        "bin": {"gptoss": "bin/gptoss.js"},
        "engines": {"node": ">=18"},
        "files": ["bin/gptoss.js"],
        "optionalDependencies": programs,
    }
    files = {"bin/gptoss.js": (LAUNCHER.encode(), 0o755), "README.md": (words.repository("README.md"), 0o644)}
    return packed(product, manifest, files)


def described(name, version):
    return {"name": name, "version": version, "description": words.SUMMARY, "license": words.LICENSE}


def packed(product, manifest, files):
    everything = {
        "package.json": ((json.dumps(manifest, indent=2) + "\n").encode(), 0o644),
        "LICENSE": (words.repository("LICENSE"), 0o644),
        **files,
    }
    data = reproducible.tar_gz({f"package/{path}": file for path, file in everything.items()}, product.epoch)
    return f"{manifest['name']}-{manifest['version']}.tgz", data
