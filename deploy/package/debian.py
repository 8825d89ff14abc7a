"""The Debian package: an archive of ar with two of tar, as deb(5) has it."""

import hashlib

import product as words
import reproducible

# A key for whoever installs: the unit does not start without the file.
POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if [ ! -e /etc/gptoss/keys ]; then
        (umask 077 && printf '%s name=local\\n' "$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')" >/etc/gptoss/keys)
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
        # Enabling it is left to the operator: systemctl enable --now gptoss
        systemctl try-restart gptoss.service || true
    fi
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now gptoss.service || true
fi
"""
POSTRM = """#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /etc/gptoss
fi
"""
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: gptoss

Files: *
License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.
Comment: The licences of what is compiled in are in sbom.cdx.json of the release.
"""


def make(product):
    """(name, bytes)."""
    files = contents(product)
    control = {
        "control": (fields(product, files).encode(), 0o644),
        "conffiles": (b"/etc/gptoss/gptoss.toml\n", 0o644),
        "md5sums": (sums(files).encode(), 0o644),
        "postinst": (POSTINST.encode(), 0o755),
        "prerm": (PRERM.encode(), 0o755),
        "postrm": (POSTRM.encode(), 0o755),
    }
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", reproducible.tar_gz(dotted(control), product.epoch)),
        ("data.tar.gz", reproducible.tar_gz(dotted(files), product.epoch)),
    ]
    return f"{words.NAME}_{product.version}_{product.machine[3]}.deb", ar(members, product.epoch)


def contents(product):
    share = "usr/share"
    files = {
        "usr/bin/gptoss": (product.program, 0o755),
        "lib/systemd/system/gptoss.service": (words.repository("deploy/systemd/gptoss.service"), 0o644),
        "etc/gptoss/gptoss.toml": (words.repository("deploy/systemd/gptoss.toml"), 0o644),
        f"{share}/bash-completion/completions/gptoss": (product.completions["bash"], 0o644),
        f"{share}/zsh/vendor-completions/_gptoss": (product.completions["zsh"], 0o644),
        f"{share}/fish/vendor_completions.d/gptoss.fish": (product.completions["fish"], 0o644),
        f"{share}/doc/gptoss/copyright": (COPYRIGHT.encode(), 0o644),
        f"{share}/doc/gptoss/changelog.gz": (reproducible.gzipped(words.repository("CHANGELOG.md")), 0o644),
    }
    for name in ("network.conf", "card.conf", "tools.conf"):
        files[f"{share}/doc/gptoss/examples/{name}"] = (words.repository(f"deploy/systemd/{name}"), 0o644)
    for name, page in product.manual.items():
        files[f"{share}/man/man1/{name}.gz"] = (reproducible.gzipped(page), 0o644)
    return files


def fields(product, files):
    kibibytes = sum(-(-len(data) // 1024) for data, _ in files.values())
    glibc = ".".join(map(str, product.glibc))
    return f"""Package: {words.NAME}
Version: {product.version}
Architecture: {product.machine[3]}
Maintainer: gptoss
Installed-Size: {kibibytes}
Depends: libc6 (>= {glibc}), libgcc-s1
Recommends: ca-certificates
Section: science
Priority: optional
Description: {words.SUMMARY}
 A small demo model is inside the program, so the first answer needs no
 download. The unit gptoss.service serves on the loopback address, with the
 keys in /etc/gptoss/keys and the settings in /etc/gptoss/gptoss.toml.
"""


def sums(files):
    kept = {path: data for path, (data, _) in files.items() if not path.startswith("etc/")}
    # What dpkg --verify reads; it says nothing of who made the package.
    digest = lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest()
    return "".join(f"{digest(data)}  {path}\n" for path, data in sorted(kept.items()))


def dotted(files):
    return {f"./{path}": file for path, file in files.items()}


def ar(members, epoch):
    archive = b"!<arch>\n"
    for name, data in members:
        head = f"{name:<16}{epoch:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        archive += head.encode() + data + b"\n" * (len(data) % 2)
    return archive
