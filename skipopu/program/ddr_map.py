"""DDR4: regions one after another, and the strides that make every transfer begin at a word of both channels."""

import math
from dataclasses import dataclass

from skipopu.program.constants import ConstantMap
from skipopu.program.head_matrices import Heads
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.npe import word_columns
from skipopu.spec.overlay import BOUNDARY, DDR_BEAT_BYTES, FP16_BYTES, Overlay

PROGRAM_BYTES = 2**30  # in both channels; half of it, 2^24 instructions, in the first


@dataclass(frozen=True)
class Strides:
    """Bytes from one to the next; whole words of 128 bytes."""

    row: int  # of X, embedding, prompt: a token
    pair: int  # of Q and O: a token's queries of a pair of key/value heads
    rotary: int  # a token's cosines and sines; the same distance in the ROT buffer
    last: int  # a tile of the last row of a prompt


def words(size: int, overlay: Overlay) -> int:
    """Return ``size`` bytes rounded up to whole words of the DDR4 interface."""
    return math.ceil(size / overlay.ddr_bytes_per_cycle) * overlay.ddr_bytes_per_cycle


def rotary_word(overlay: Overlay) -> int:
    """Bytes of a word of the ROT buffer: cosines, then sines, of the pairs of a word of results."""
    return word_columns(overlay.pe_array.columns, overlay.npe.lanes) * FP16_BYTES


def strides_of(shape: ModelShape, overlay: Overlay) -> Strides:
    """Strides of a model on an overlay."""
    d = shape.dimensions
    head = overlay.head_storage(d.head_dim) * FP16_BYTES
    unit = math.lcm(overlay.ddr_bytes_per_cycle, rotary_word(overlay))
    return Strides(
        row=words(math.ceil(d.hidden_size / overlay.pe_array.dot_length) * overlay.tile_bytes, overlay),
        pair=words(2 * shape.queries_per_kv_head * head, overlay),
        rotary=math.ceil(head / unit) * unit,
        last=words(overlay.tile_bytes, overlay),
    )


def map_ddr(
    shape: ModelShape, overlay: Overlay, tokens: int, rows: int, board: Board, constants: ConstantMap,
    strides: Strides, heads: Heads, joints: int = 0,
) -> dict[str, int]:
    """Return the first byte of every region for ``rows`` slots of rows; SpecError where the board is too small."""
    d, tile = shape.dimensions, overlay.tile_bytes
    logits = words(math.ceil(d.vocabulary / overlay.pe_array.dot_length) * tile, overlay)
    queries = rows * d.kv_heads // 2 * strides.pair
    # prefill's blocks leave room for two pairs' scores on chip
    scores = overlay.global_buffer.tiles * tile
    sizes = {
        # with learned positions the host adds token and position: a row a token of the sequence
        "embedding": (tokens if d.learned_positions else d.vocabulary) * strides.row,
        "prompt": rows * strides.row,  # embeddings of the tokens that are not generated, block by block like X
        "constants": sum(block.words for blocks in constants.values() for block in blocks) * DDR_BEAT_BYTES,
        "rotary": rows * strides.rotary,
        "x": rows * strides.row,
        "q": queries,
        "o": queries,
        "scores0": scores,
        "scores1": scores,
        "last": heads.logit_rows * math.ceil(d.hidden_size / overlay.pe_array.dot_length) * strides.last,
        "logits": heads.logit_rows * logits,
        "program": PROGRAM_BYTES,
        "decision": words(tile, overlay),
        "visual": heads.searched * strides.row,  # embeddings of the tokens that look for their nearest word
        "similarities": heads.searched * logits,
        "states": joints * rows * strides.row,  # of vision layers, block by block like X
    }
    starts, offset = {}, 0
    for name, size in sizes.items():
        starts[name] = offset
        offset += math.ceil(size / BOUNDARY) * BOUNDARY
    room = board.ddr.capacity_bytes * board.ddr.channels
    if offset > room:
        raise SpecError(
            f"shape {shape.name}: DDR4 needs {offset} bytes, the board has {room}; use a smaller vocabulary"
        )
    return starts
