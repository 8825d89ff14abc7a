"""The archive of a release: program, licence, completions, manual pages, what systemd and Grafana read."""

import product as words
import reproducible


def make(product):
    """(name, bytes)."""
    folder = f"{words.NAME}-{product.version}-{product.target}"
    files = {
        "gptoss": (product.program, 0o755),
        "LICENSE": (words.repository("LICENSE"), 0o644),
        "README.md": (words.repository("README.md"), 0o644),
        "CHANGELOG.md": (words.repository("CHANGELOG.md"), 0o644),
        "completions/gptoss.bash": (product.completions["bash"], 0o644),
        "completions/_gptoss": (product.completions["zsh"], 0o644),
        "completions/gptoss.fish": (product.completions["fish"], 0o644),
        "grafana/gptoss.json": (words.repository("deploy/grafana/gptoss.json"), 0o644),
    }
    for path in sorted((words.ROOT / "deploy/systemd").iterdir()):
        files[f"systemd/{path.name}"] = (path.read_bytes(), 0o644)
    for name, page in product.manual.items():
        files[f"man/man1/{name}"] = (page, 0o644)
    data = reproducible.tar_gz({f"{folder}/{path}": file for path, file in files.items()}, product.epoch)
    return f"{folder}.tar.gz", data
