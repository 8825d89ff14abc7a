"""The wheel: `pip install gptoss` puts the program beside Python's own scripts. No code of Python is in it."""

import base64
import hashlib

import product as words
import reproducible


def make(product):
    """(name, bytes)."""
    major, minor = product.glibc
    tag = f"py3-none-manylinux_{major}_{minor}_{product.machine[0]}"
    stem = f"{words.NAME}-{product.version}"
    info = f"{stem}.dist-info"
    # What is under scripts/ goes to the environment's bin, as it is.
    files = {
        f"{stem}.data/scripts/gptoss": (product.program, 0o755),
        f"{stem}.data/data/share/bash-completion/completions/gptoss": (product.completions["bash"], 0o644),
        f"{stem}.data/data/share/zsh/site-functions/_gptoss": (product.completions["zsh"], 0o644),
        f"{stem}.data/data/share/fish/vendor_completions.d/gptoss.fish": (product.completions["fish"], 0o644),
    }
    for name, page in product.manual.items():
        files[f"{stem}.data/data/share/man/man1/{name}"] = (page, 0o644)
    files[f"{info}/licenses/LICENSE"] = (words.repository("LICENSE"), 0o644)
    files[f"{info}/METADATA"] = (metadata(product).encode(), 0o644)
    files[f"{info}/WHEEL"] = (wheel(tag).encode(), 0o644)
    files[f"{info}/RECORD"] = (record(files, f"{info}/RECORD").encode(), 0o644)
    return f"{stem}-{tag}.whl", reproducible.zipped(files, product.epoch)


def metadata(product):
    return f"""Metadata-Version: 2.4
Name: {words.NAME}
Version: {product.version}
Summary: {words.SUMMARY}
License-Expression: {words.LICENSE}
License-File: LICENSE
Requires-Python: >=3.8
Classifier: Environment :: Console
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Rust
Classifier: Topic :: Scientific/Engineering :: Artificial Intelligence
Description-Content-Type: text/markdown

{words.repository("README.md").decode()}"""


def wheel(tag):
    return f"Wheel-Version: 1.0\nGenerator: gptoss-package\nRoot-Is-Purelib: false\nTag: {tag}\n"


def record(files, own):
    def digest(data):
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

    lines = [f"{path},sha256={digest(data)},{len(data)}" for path, (data, _) in files.items()]
    return "\n".join([*lines, f"{own},,", ""])
