"""MATMUL and ROUTE: rows of tiles times weights; row statistics and the tiles normalised by them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.matmul import matmul
from skipopu.numerics.operands import Weights
from skipopu.numerics.router import executed
from skipopu.numerics.row_statistics import RowStatistics, normalised, row_statistics
from skipopu.program.isa import Gate, Post
from skipopu.sim.functional.results import WORD, write_matrix
from skipopu.sim.functional.state import Bits, Instruction, Ints, State, listed, places, write

NIBBLE, NEGATIVE = 0xF, 8


def run_matmul(s: State, f: Instruction) -> None:
    """Executed rows times the next weight stream; nothing where no row executes."""
    rows = listed(s, f)
    if len(rows) == 0:
        return
    packed = f["post"] == Post.RESIDUAL
    x = s.buffer[places(f["source"], f["k_tiles"], np.arange(len(rows)) if packed else rows, f["rows"])]
    if f["normalize"]:
        x = normalise(s, x, rows, 1 - f["half"], f["k_tiles"])
        write(s, places(f["operand"], f["k_tiles"], rows, f["rows"]), x)
    write_matrix(s, f, product(s, x, _weights(s, f)), rows)


def product(s: State, x: Bits, weights: Weights) -> NDArray[np.uint32]:
    """Return FP32 bits of x [tiles, rows, dot] times weights [columns, tiles · dot]."""
    flat = np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(x.shape[1], -1)
    return matmul(flat, weights, arithmetic_of(s.overlay), s.dot).view(np.uint32)


def _weights(s: State, f: Instruction) -> Weights:
    """Whole column blocks, of K-tiles, of columns; INT4 with the low nibble first."""
    width = s.overlay.pe_array.columns
    shape = (-(-f["columns"] // width), f["k_tiles"], width, s.dot)
    stream, count = s.weights.popleft(), int(np.prod(shape))
    if f["datatype"]:
        values: Weights = stream.view("<u2")[:count]
    else:
        nibbles = np.stack([stream & NIBBLE, stream >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
        values = np.where(nibbles >= NEGATIVE, nibbles - 2 * NEGATIVE, nibbles).astype(np.int8)
    tiles: NDArray[Any] = values.reshape(shape).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(shape[0] * width, -1)


def normalise(s: State, x: Bits, rows: Ints, half: int, tiles: int) -> Bits:
    """Normalise tiles ``x`` [tiles, rows, dot] by the statistics of their rows and the gains in a half."""
    gains = s.constants[half]
    gamma = gains[: tiles * s.dot].reshape(tiles, s.dot)
    centred = s.overlay.npe.layer_norm
    beta = gains[tiles * s.dot : 2 * tiles * s.dot].reshape(tiles, s.dot) if centred else None
    sums = np.zeros((0, 0), np.uint32)
    return normalised(x, RowStatistics(sums, sums, s.mean[rows], s.inverse[rows]), gamma, beta)


def take_statistics(s: State, x: Bits, rows: Ints) -> None:
    """Keep mean and 1/√(variance + ε) of rows of tiles ``x`` [tiles, rows, dot]."""
    settings = s.image.settings
    found = row_statistics(x, settings.share, settings.epsilon, centred=s.overlay.npe.layer_norm)
    s.mean[rows], s.inverse[rows] = found.mean, found.inverse


def run_route(s: State, f: Instruction) -> None:
    """Statistics and logits of all rows of the block; a route's gate is the one that it writes."""
    rows = np.arange(f["rows"])
    x = s.buffer[places(f["source"], f["k_tiles"], rows, f["rows"])]
    if f["normalize"]:
        take_statistics(s, x, rows)
    if f["columns"] == 0:
        return
    first, count = f["address"] * WORD, f["columns"] * f["k_tiles"] * s.dot
    tiles = s.constants[f["half"], first : first + count].reshape(f["k_tiles"], f["columns"], s.dot)
    weights = np.ascontiguousarray(tiles.transpose(1, 0, 2)).reshape(f["columns"], -1)
    logits = product(s, x, weights)
    gates = (Gate.ATTENTION, Gate.FFN) if f["gate"] == Gate.ALL else (Gate(f["gate"]),)
    for n, gate in enumerate(gates):
        s.masks[gate, f["mask"]] = executed(logits[:, 2 * n : 2 * n + 2])
