"""The bill of materials: every crate of the program, and what the page in it is made of, as CycloneDX has it."""

import json
import subprocess
import time
import tomllib
import uuid

import product as words

PACKAGE = "gptoss-cli"


def make(product):
    """(name, bytes)."""
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", product.target],
            cwd=words.ROOT,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(id for id, package in packages.items() if package["name"] == PACKAGE)
    reached = closure(root, nodes)
    sums = checksums()
    crates = [crate(packages[id], sums) for id in sorted(reached - {root}, key=lambda id: reference(packages[id]))]
    page = page_packages()
    own = {"type": "application", "bom-ref": reference(packages[root]), "name": words.NAME, "version": product.version}
    own["licenses"] = [{"expression": words.LICENSE}]
    graph = [
        {
            "ref": reference(packages[id]),
            "dependsOn": sorted({reference(packages[to]) for to in needed(nodes[id])})
            + ([part["bom-ref"] for part in page] if packages[id]["name"] == "gptoss-server" else []),
        }
        for id in sorted(reached, key=lambda id: reference(packages[id]))
    ]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(product.epoch)),
            "component": own,
            "properties": [{"name": "gptoss:target", "value": product.target}],
        },
        "components": crates + page,
        "dependencies": graph + [{"ref": part["bom-ref"], "dependsOn": []} for part in page],
    }
    # The same content has the same number.
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True)).urn
    return f"{words.NAME}-{product.version}-{product.target}.cdx.json", (json.dumps(bill, indent=1) + "\n").encode()


def needed(node):
    """What it is built of: no dependencies of tests."""
    kinds = lambda dependency: {kind["kind"] for kind in dependency["dep_kinds"]}
    return [dependency["pkg"] for dependency in node["deps"] if kinds(dependency) & {None, "build"}]


def closure(root, nodes):
    reached, open_ends = {root}, [root]
    while open_ends:
        for id in needed(nodes[open_ends.pop()]):
            if id not in reached:
                reached.add(id)
                open_ends.append(id)
    return reached


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums():
    lock = tomllib.loads(words.repository("Cargo.lock").decode())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def crate(package, sums):
    part = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package["license"]:
        # Crates of before 2021 wrote a slash for OR.
        part["licenses"] = [{"expression": package["license"].replace("/", " OR ").replace("  ", " ")}]
    digest = sums.get((package["name"], package["version"]))
    if digest:
        part["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return part


def page_packages():
    lock = json.loads(words.repository("page/package-lock.json"))
    parts = []
    for path, package in sorted(lock["packages"].items()):
        if not path or package.get("dev"):
            continue
        name = path.rpartition("node_modules/")[2]
        purl = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
        part = {"type": "library", "bom-ref": purl, "name": name, "version": package["version"], "purl": purl}
        if package.get("license"):
            part["licenses"] = [{"expression": package["license"]}]
        parts.append(part)
    return parts
