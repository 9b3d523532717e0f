"""Prefill: row blocks through every layer, X, Q, raw scores and O in DDR4 (SkipOPU Algorithms 1 and 2)."""

from skipopu.program.attention import emit_attention, emit_residual, project_first
from skipopu.program.block import Block
from skipopu.program.emitter import Emitter
from skipopu.program.experts import emit_block_experts
from skipopu.program.factors import RANK
from skipopu.program.fusing import emit_fusion
from skipopu.program.gathering import Gathering, prefill_places
from skipopu.program.heads import emit_last_rows, emit_searches
from skipopu.program.products import emit_ffn_input
from skipopu.program.routing import load_and_route
from skipopu.program.row_blocks import in_layer
from skipopu.program.scoring import Scoring
from skipopu.program.stand_ins import emit_block_stand_in, has_stand_in
from skipopu.program.template_scores import order_of_attention
from skipopu.spec.ledger import Part
from skipopu.trace import StepPhase


def emit_prefill(e: Emitter, step: int, blocks: list[Block]) -> None:
    """Emit a step of many tokens: embeddings to DDR4, layers block by block, then the last row's logits."""
    e.b.step, e.decode, e.bidirectional = step, False, e.c.trace.steps.phase[step] == StepPhase.ENCODE
    homes = {block.number: block for block in blocks}
    chosen = emit_searches(e, step, blocks[0]) or bool(e.c.trace.steps.decoding()[step])
    rows, scoring, last, held = Gathering(e, chosen=chosen), Scoring(e, step, homes), blocks[-1], False
    for layer in range(e.c.shape.dimensions.layers):
        held = not scoring.before(layer) and held
        here = [homes[p] for p in in_layer(e.c.passes, list(homes), layer)]
        for block in here:
            if not e.c.passes.present[block.number, :layer].any():
                rows.bring(block)
        emit_fusion(e, here, layer)
        scoring.within(layer)
        projected = project_first(e, here, layer)
        for block in order_of_attention(e, here, layer):
            e.enter(block, layer)
            emit_attention(e, block, projected)
            if has_stand_in(e, "attention"):
                emit_block_stand_in(e, block, "attention")
            last, held = here[-1], _ffn(e, block) and block is here[-1]
        held = not scoring.after(layer) and held
    emit_last_rows(e, step, rows, last if held else None)


def _ffn(e: Emitter, block: Block) -> bool:
    """The FFN of a block, if it runs there; return whether it does."""
    if not e.c.runs("ffn", block.number, e.b.layer):
        return False
    if e.c.lists.has_experts(e.b.layer):
        emit_block_experts(e, block)
        return False
    rows, t = block.rows, e.c.tiles
    places = prefill_places(e, "FFN").add("x", rows * t.x).add("h", rows * t.ffn)
    e.places = places.add("router", rows * t.router).add(RANK, rows * t.rank)
    e.b.part = Part.FFN_ROUTER
    load_and_route(e, block, "ffn")
    gate = e.gate("ffn", e.b.layer)
    emit_ffn_input(e, gate, "x", "x", "h", rows)
    emit_residual(e, block, gate, list(e.projections("down")), "h")
    if has_stand_in(e, "ffn"):
        emit_block_stand_in(e, block, "ffn")
    return not has_stand_in(e, "ffn")
