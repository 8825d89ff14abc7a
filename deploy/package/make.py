#!/usr/bin/env python3
"""Packages of a program that was built: archive, wheel, npm, Debian, Homebrew, bill of materials, checksums.

    deploy/package/make.py --program TARGET=PATH... --version V --epoch SECONDS --out DIR [--address URL] [--generator PATH]

Called by `cargo xtask dist`. The same program gives the same bytes.
"""

import argparse
import concurrent.futures
import hashlib
import pathlib

import archive
import debian
import homebrew
import npm
import product as words
import sbom
import wheel


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--program", action="append", required=True, metavar="TARGET=PATH")
    parser.add_argument("--version", required=True)
    parser.add_argument("--epoch", required=True, type=int)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--generator", type=pathlib.Path, help="a program that runs here; the first one by default")
    parser.add_argument("--address", default="https://example.invalid/gptoss", help="where the archives will lie")
    asked = parser.parse_args()
    programs = dict(program.split("=", 1) for program in asked.program)
    generator = (asked.generator or pathlib.Path(next(iter(programs.values())))).resolve()
    products = [
        words.Product(pathlib.Path(path).resolve(), target, asked.version, asked.epoch, generator)
        for target, path in programs.items()
    ]
    for path, data in sorted(made(products, asked).items()):
        (asked.out / path).write_bytes(data)
        print(f"{len(data):>12}  {path}")


def made(products, asked):
    asked.out.mkdir(parents=True, exist_ok=True)
    archives, files = {}, {}
    for product in products:
        # Asked for before the threads need them.
        product.completions, product.manual
        makers = (archive.make, wheel.make, npm.make_program, debian.make, sbom.make)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            results = [task.result() for task in [pool.submit(maker, product) for maker in makers]]
        archives[product.target] = results[0]
        files.update(results)
    systems = [product.machine[1:3] for product in products]
    files.update([npm.make_launcher(products[0], systems)])
    files.update([homebrew.make(asked.version, archives, f"{asked.address}/v{asked.version}")])
    lines = [f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items())]
    files["SHA256SUMS"] = "".join(lines).encode()
    return files


if __name__ == "__main__":
    main()
