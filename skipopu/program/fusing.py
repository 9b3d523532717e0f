"""Emits fusion within the decoder: at the entry of a layer, states of a vision layer join the visual rows of X."""

from skipopu.program.block import Block
from skipopu.program.builder import Region
from skipopu.program.emitter import Emitter
from skipopu.program.gathering import prefill_places
from skipopu.program.isa import Opcode, Post
from skipopu.program.joints import IDENTITY, Joint, identity_tiles, joined_rows
from skipopu.spec.ledger import Part


def emit_fusion(e: Emitter, blocks: list[Block], layer: int) -> None:
    """Let the states of this layer's joints join X of the visual ones among ``blocks``."""
    for joint in e.c.joints:
        if joint.layer != layer or e.b.step not in joint.steps:
            continue
        rows = joined_rows(e.c.trace)[layer]
        for block in blocks:
            if rows[e.c.passes.tokens[block.first]]:  # of a block all rows or none
                _join(e, block, joint)


def _join(e: Emitter, block: Block, joint: Joint) -> None:
    """X and the state come from DDR4, X goes back."""
    t, rows, stride = e.c.tiles, block.rows, e.c.memory.strides.row
    e.enter(block, joint.layer, Part.OUTSIDE)
    e.places = prefill_places(e, "fusion").add("x", rows * t.x).add("state", rows * t.x)
    e.load("x", block.first * stride, "x", e.places["x"], rows, t.x)
    slot = joint.number * len(e.c.passes.tokens) + block.first
    e.load("states", slot * stride, "state", e.places["state"], rows, t.x)
    if joint.modular:
        e.places.add("inner", rows * t.x)
        _through_module(e, joint, rows)
    else:
        _add(e, rows)
    e.store("x", block.first * stride, "x", e.places["x"], rows, t.x)


def _through_module(e: Emitter, joint: Joint, rows: int) -> None:
    """X and state lie side by side, as the matrix takes them; the result is added to X."""
    into, out = joint.matrices
    for name, first, count, held in e.projections(into, out):
        inner = name == into
        source, target, post = ("x", "inner", Post.GELU) if inner else ("inner", "x", Post.RESIDUAL)
        reads: list[Region] = ["x", "state"] if inner else ["inner", "x"]
        place = e.places[target] + e.part(first, rows)
        e.matmul(
            name, held, {}, reads, [target], first=first, count=count, source=e.places[source],
            operand=0 if inner else place, target=place, rows=rows, post=int(post),
        )  # fmt: skip


def _add(e: Emitter, rows: int) -> None:
    """State times identity, plus X, a few tiles at a time: no product waits for the one before."""
    wide, matrix = identity_tiles(e.c.shape, e.c.overlay), e.c.memory.matrices[-1, IDENTITY]
    for tile in range(0, e.c.tiles.x, wide):
        x, state = f"x {tile}", f"state {tile}"
        e.places.part(x, "x", tile * rows, wide * rows)
        e.places.part(state, "state", tile * rows, wide * rows)
        e.weights(IDENTITY, {}, layer=-1)
        e.emit(
            Opcode.MATMUL, [state, x], [x], columns=matrix.columns, k_tiles=matrix.k_tiles, rows=rows,
            datatype=int(matrix.datatype == "fp16"), source=e.places[state], operand=e.places[x],
            target=e.places[x], post=int(Post.RESIDUAL),
        )  # fmt: skip
