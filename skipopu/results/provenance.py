"""`provenance.json`: where every number of a result comes from; no times, no paths."""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipopu.spec.leaf import Leaf

if TYPE_CHECKING:
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

SOURCES = (".py", ".toml")
PACKAGES = ("skipopu", "numpy", "numba", "safetensors", "polars", "matplotlib")


def provenance(trace: "Trace", overlay: "Overlay", board: "Board") -> dict[str, Any]:
    """Return every resolved parameter with its source and confidence, and the hashes of all inputs."""
    shape = trace.header.shape
    parameters = {
        "overlay": leaves(overlay.provenance),
        "board": leaves(board.provenance),
        "shape": leaves(shape.provenance),
    }
    return {
        "names": {"overlay": overlay.name, "board": board.name, "shape": shape.name},
        "sha256": {
            "trace": trace.sha256,
            **{kind: digest(table) for kind, table in parameters.items()},
            "sources": own_sources_sha256(),
        },
        "versions": {"python": platform.python_version(), **versions()},
        "parameters": parameters,
    }


def leaves(table: Mapping[str, Leaf]) -> dict[str, dict[str, Any]]:
    """Return ``{"section.key": {value, unit, source, confidence}}``, sorted by key."""
    return {key: dataclasses.asdict(table[key]) for key in sorted(table)}


def digest(table: Mapping[str, Any]) -> str:
    """SHA-256 of a table as canonical JSON."""
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


@cache
def own_sources_sha256() -> str:
    """Hash of the package's own sources, read once: what this process runs does not change under it."""
    return sources_sha256(Path(__file__).parents[1])


def sources_sha256(package: Path) -> str:
    """SHA-256 over the name and content of every source file of a package, linked folders included."""
    total = hashlib.sha256()
    for name, path in sorted(_sources(package, "")):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers pass through."""
    return {package: _version(package) for package in PACKAGES}


def _sources(folder: Path, prefix: str) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for path in folder.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            found += _sources(path, f"{prefix}{path.name}/")
        elif path.suffix in SOURCES:
            found.append((prefix + path.name, path))
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
