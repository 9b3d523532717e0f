"""Scores that a layer's own attention yields: a tracker's template weighs all tokens, and the best go on (UTPTrack).

Raw scores go through DDR4 anyway, where those of the next head pair or block replace them. In a layer that is asked for
them the block of the template's centre attends last and a head pair's scores lie behind the others', so that the host
finds the centre's row of all heads there when the layer is over. Choosing by them is the host's, and its time is not
in the simulation.
"""

from skipopu.program.block import Block
from skipopu.program.blocking import heads_of_pass
from skipopu.program.context import Context
from skipopu.program.ddr_map import words
from skipopu.program.emitter import Emitter
from skipopu.spec.error import SpecError

REGIONS = 2  # of DDR4, which head pairs use in turn


def order_of_attention(e: Emitter, blocks: list[Block], layer: int) -> list[Block]:
    """Return the blocks of a layer in the order in which they attend: that of the template's centre is the last."""
    token = e.c.template_scores.get((e.b.step, layer), -1)
    return sorted(blocks, key=lambda block: _has(e.c, block, token))


def scores_at(e: Emitter, block: Block, pair: int) -> int:
    """Byte of its region at which the scores of a head pair begin: 0, unless the host is to find those of all pairs."""
    token = e.c.template_scores.get((e.b.step, e.b.layer), -1)
    if not _has(e.c, block, token):
        return 0
    tiles = block.rows * heads_of_pass(e.c.shape) * int(e.c.demand.rounds[block.number, e.b.layer])
    size, tile = words(tiles * e.c.overlay.tile_bytes, e.c.overlay), e.c.overlay.tile_bytes
    need, room = -(-e.pairs // REGIONS) * size, e.c.overlay.global_buffer.tiles * tile
    if need > room:
        raise SpecError(
            f"trace: layer {e.b.layer}: scores of {block.rows} rows of all heads need {need} bytes of DDR4;"
            f" global_buffer.tiles × tile = {room}; nearest: global_buffer.tiles = {-(-need // tile)}"
        )
    return pair // REGIONS * size


def _has(c: Context, block: Block, token: int) -> bool:
    return token in c.passes.tokens[block.first : block.first + block.rows]
