"""Sums of a matrix operation become results in the global buffer."""

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP32
from skipopu.numerics.result_path import apply_function, numbers
from skipopu.program.isa import ADDRESS_UNIT, Post
from skipopu.sim.functional.state import Bits, Instruction, Ints, State, note, places
from skipopu.spec.overlay import FP16_BYTES

Wide = NDArray[np.uint32]
ONE = FP32.bias << FP32.fraction_bits
WORD = ADDRESS_UNIT // FP16_BYTES  # elements in which constants are addressed


def write_matrix(s: State, f: Instruction, totals: Wide, rows: Ints) -> None:
    """Scale, bias, residual, function of a MATMUL's ``totals`` [executed rows, whole column blocks]."""
    post, executed = Post(f["post"]), np.arange(len(rows))
    columns = _words(s, f) * s.lanes
    totals = totals[:, :columns]
    residual = post == Post.RESIDUAL
    scales = _constants(s, f, 0, columns).view(np.float16).astype(np.float32).view(np.uint32)
    side = np.broadcast_to(scales if f["scaled"] else np.uint32(ONE), totals.shape)
    behind = -(-f["columns"] // WORD) * WORD
    bias = np.broadcast_to(_constants(s, f, behind, columns), totals.shape) if f["bias"] else None
    found = numbers(totals, side, bias, _residuals(s, f, rows, columns) if residual else None)
    found = apply_function(post.name.lower(), found, *_angles(s, rows, columns))
    last = f["columns"] // 2 if post == Post.SWIGLU else f["columns"]
    width = min(columns // 2 if post == Post.SWIGLU else columns, -(-last // s.dot) * s.dot)
    write_columns(s, f, f["target"], rows if residual else executed, found[:, :width])


def write_columns(s: State, f: Instruction, first: int, rows: Ints, found: Bits) -> None:
    """Column c goes to lane c modulo dot of tile c // dot; lanes without a column keep what they hold."""
    tiles = -(-found.shape[1] // s.dot)
    at = places(first, tiles, rows, f["rows"])
    for tile in range(tiles):
        part = found[:, tile * s.dot : (tile + 1) * s.dot]
        s.buffer[at[tile], : part.shape[1]] = part
    note(s, at)


def _words(s: State, f: Instruction) -> int:
    """Words in which a row leaves: the same number from every column block."""
    width = s.overlay.pe_array.columns
    return -(-f["columns"] // width) * -(-min(f["columns"], width) // s.lanes)


def _constants(s: State, f: Instruction, behind: int, count: int) -> Bits:
    """``count`` elements of the half; beyond its end zeros."""
    first = f["address"] * WORD + behind
    found = s.constants[f["half"], first : first + count]
    return np.pad(found, (0, count - len(found)))


def _residuals(s: State, f: Instruction, rows: Ints, columns: int) -> Bits:
    at = places(f["operand"], -(-columns // s.dot), rows, f["rows"])
    return s.buffer[np.minimum(at, len(s.buffer) - 1)].transpose(1, 0, 2).reshape(len(rows), -1)[:, :columns]


def _angles(s: State, rows: Ints, columns: int) -> tuple[Bits, Bits]:
    """Cosines and sines [rows, columns / 2]: words of a head after one another, a row of the block its stride apart."""
    words, pairs = columns // s.lanes, s.lanes // 2
    of_head = np.arange(words) % max(s.image.settings.rotary_words, 1)
    word = rows[:, None] * s.image.settings.rotary_stride + of_head
    first = word[:, :, None] * s.lanes + np.arange(pairs)
    first = np.minimum(first, len(s.rotary) - 1 - pairs)  # without RoPE nothing is there, and nothing turned
    both = [s.rotary[first + offset].reshape(len(rows), -1) for offset in (0, pairs)]
    return both[0], both[1]
