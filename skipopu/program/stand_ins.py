"""Emits low-rank stand-ins: rows that do not run a module run D → rank → D in its place (LFF, arXiv 2510.13831).

A stand-in takes what the module would have taken, X normalised, and adds to X: y = x + W₂ · SiLU(W₁ · norm(x)).
"""

from skipopu.program.block import Block
from skipopu.program.emitter import Emitter, Held
from skipopu.program.gathering import prefill_places
from skipopu.program.isa import Post
from skipopu.program.nonlinear import emit_norm, emit_normalization
from skipopu.program.part_matrices import part_places, stand_in
from skipopu.program.products import emit_residual_part
from skipopu.spec.ledger import Part


def has_stand_in(e: Emitter, module: str) -> bool:
    """Whether rows that skip ``module`` of the current layer have a stand-in."""
    return e.c.routed(module, e.b.layer) and e.c.lists.stand_in(module) > 0


def emit_block_stand_in(e: Emitter, block: Block, module: str) -> None:
    """Of a row block in prefill: X from DDR4 and back, of the rows that skip ``module``."""
    rows, x, at = block.rows, e.c.tiles.x, block.first * e.c.memory.strides.row
    places = prefill_places(e, "stand-ins").add("x", rows * x).add("xn", rows * x)
    e.places = places.add("stand_in", rows * part_places(e.c.lists, e.c.overlay)["stand_in"])
    gate = {"list": e.c.lists.stand_in(module)}
    e.load("x", at, "x", e.places["x"], rows, x, **gate)
    emit_stand_in(e, module, rows)
    e.store("x", at, "x", e.places["x"], rows, x, **gate)


def emit_stand_in(e: Emitter, module: str, rows: int) -> None:
    """Of the rows of place ``x`` that skip ``module``; ``xn`` takes them normalised, ``stand_in`` what is between."""
    gate = {"list": e.c.lists.stand_in(module)}
    part = Part.OUTPUT if module == "attention" else Part.FFN
    (block,) = e.c.memory.constants[e.b.layer, f"{module} norm"]
    e.gamma = e.constants(block)
    around = Part.ROUTER if module == "attention" else Part.FFN_ROUTER
    if e.fused:
        emit_normalization(e, around, gate, "x", "xn", rows)
    emit_norm(e, around, gate, "x", "xn", rows)
    e.b.part = part
    first, _ = stand_in(module)
    for name, begin, count, held in e.projections(*stand_in(module)):
        if name == first:
            _inner(e, name, held, gate, begin, count, rows)
        else:
            emit_residual_part(e, name, held, gate, "stand_in", begin, count, rows)


def _inner(e: Emitter, name: str, held: Held, gate: dict[str, int], first: int, count: int, rows: int) -> None:
    e.matmul(
        name, held, gate, ["xn"], ["stand_in"], first=first, count=count, source=e.places["xn"],
        target=e.places["stand_in"] + e.part(first, rows, Post.SWIGLU), rows=rows, post=int(Post.SWIGLU),
    )  # fmt: skip
