"""What the program is made of: every locked package with its hashes and its licence, as CycloneDX 1.5 (T-087).

python scripts/sbom.py [FILE]     # build/sbom.cdx.json; exit code 1 if a licence is unknown or not allowed

What is locked decides, not what happens to be installed: requirements.txt and rust/hanatalk-mls/Cargo.lock. Licences
are what the packages say of themselves (installed metadata, `cargo metadata`). Nothing is fetched but what cargo lacks.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CRATE = ROOT / "rust" / "hanatalk-mls"
DEFAULT = ROOT / "build" / "sbom.cdx.json"

# What may be part of an AGPL program that others build on. rust/deny.toml says the same of the crates.
ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSD", "ISC", "MIT"),
        *("MIT-CMU", "MIT-0", "MPL-2.0", "PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib", "AGPL-3.0-or-later"),
    }
)
# Old ways of saying it.
_SPELT = {
    "BSD 2-Clause License": "BSD-2-Clause",
    "Apache 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Read in the licence file that the wheel carries: metadata that says nothing, and packages for Windows only.
_READ = {
    "aiofastnet": "MIT",
    "apsw-sqlite3mc": "Zlib",
    "atheris": "Apache-2.0",
    "picows": "MIT",
    "colorama": "BSD-3-Clause",
    "pywin32-ctypes": "BSD-3-Clause",
}

Component = dict[str, Any]


def python_components(locked: str, relay: str) -> Iterator[Component]:
    """One for each requirement; a relay's are marked. `locked`, `relay`: the texts of the two lock files."""
    on_relays = {name for name, _, _ in _requirements(relay)}
    for name, version, hashes in _requirements(locked):
        purl = f"pkg:pypi/{name}@{version}"
        files = {"type": "distribution", "url": purl, "hashes": [_hash(one) for one in hashes]}
        yield _component(
            name, version, purl, licence=_python_licence(name), part="relay" if name in on_relays else "device"
        ) | {"externalReferences": [files]}


def rust_components(locked: str, licences: Mapping[tuple[str, str], str]) -> Iterator[Component]:
    """One for each crate of the lock file but our own."""
    for package in tomllib.loads(locked)["package"]:
        if "checksum" not in package:
            continue
        name, version = package["name"], package["version"]
        component = _component(
            name, version, f"pkg:cargo/{name}@{version}", licence=licences.get((name, version)), part="binding"
        )
        yield component | {"hashes": [_hash(package["checksum"])]}


def _requirements(locked: str) -> Iterator[tuple[str, str, list[str]]]:
    for entry in re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", locked)):
        match = re.match(r"([a-z0-9._-]+)==([^\s;]+)", entry)
        if match is not None:
            yield match[1], match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)


def _component(name: str, version: str, purl: str, *, licence: str | None, part: str) -> Component:
    made: Component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence is not None:
        made["licenses"] = [{"expression": licence} if licence != "BSD" else {"license": {"name": licence}}]
    made["properties"] = [{"name": "hanatalk:part", "value": part}]
    return made


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _python_licence(name: str) -> str | None:
    if name in _READ:
        return _READ[name]
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None  # of another platform
    said: list[str] = [
        one for field in ("License-Expression", "License", "Classifier") for one in _all(metadata, field)
    ]
    if "License-Expression" in metadata:
        return said[0]
    for one in said:
        if one in _SPELT or one in ALLOWED:
            return _SPELT.get(one, one)
    return None


def _all(metadata: importlib.metadata.PackageMetadata, field: str) -> list[str]:
    return [str(one) for one in metadata.get_all(field) or []]


def rust_licences() -> dict[tuple[str, str], str]:
    """Of every crate in the lock file, by name and version. :raises CalledProcessError: cargo's stderr has told why"""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(CRATE / "Cargo.toml")]
    packages = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["packages"]
    return {
        (package["name"], package["version"]): package["license"].replace("/", " OR ")
        for package in packages
        if package["license"]
    }


def is_allowed(expression: str) -> bool:
    """Whether an SPDX expression can be fulfilled by what is allowed."""
    text = expression.strip()
    for operator, combine in ((" OR ", any), (" AND ", all)):
        parts = _split(text, operator)
        if len(parts) > 1:
            return combine(is_allowed(part) for part in parts)
    if text.startswith("(") and text.endswith(")"):
        return is_allowed(text[1:-1])
    return text in ALLOWED


def _split(text: str, operator: str) -> list[str]:
    """At this operator, outside of parentheses."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and text.startswith(operator, place):
            parts.append(text[start:place])
            start = place + len(operator)
    return [*parts, text[start:]]


def document(licences: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The whole bill. The same lock files make the same document: no date, no random number."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.search(r'__version__ = "(.+)"', (ROOT / "src" / "hanatalk" / "__init__.py").read_text())
    assert version is not None
    own = {
        "type": "application",
        "name": pyproject["name"],
        "version": version[1],
        "licenses": [{"expression": pyproject["license"]}],
    }
    locked, relay = ((ROOT / name).read_text() for name in ("requirements.txt", "requirements-relay.txt"))
    found = [
        *python_components(locked, relay),
        *rust_components((CRATE / "Cargo.lock").read_text(), licences),
    ]
    metadata = {"component": own}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": metadata, "components": found}


def refused(components: list[Component]) -> list[str]:
    """Packages with a licence that is not allowed, or none that is known."""
    found = []
    for component in components:
        stated = component.get("licenses")
        licence = "" if stated is None else stated[0].get("expression") or stated[0]["license"]["name"]
        if not is_allowed(licence):
            found.append(f"{component['purl']}: {licence or 'no licence known'}")
    return found


def main(arguments: list[str]) -> int:
    """Write the bill and say what is wrong with it."""
    target = Path(arguments[0]) if arguments else DEFAULT
    bill = document(rust_licences())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill, indent=1) + "\n")
    wrong = refused(bill["components"])
    print("\n".join([*wrong, f"{target}: {len(bill['components'])} packages, {len(wrong)} without an allowed licence"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
