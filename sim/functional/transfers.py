"""Transfers: rows and constants between DDR4 and the chip, weights from HBM; contiguous, tile by tile, row by row."""

import numpy as np

from skipopu.program.isa import ADDRESS_UNIT, Gate
from skipopu.sim.functional.state import Bits, Instruction, Ints, State, listed, places, write
from skipopu.spec.overlay import FP16_BYTES


def load_rows(s: State, f: Instruction) -> None:
    """Row tiles into the global buffer."""
    at = _moved(s, f, f["target"])
    data = s.image.ddr.read(f["address"] * ADDRESS_UNIT, at.size * s.dot * FP16_BYTES)
    if at.size:
        write(s, at, data.view("<u2").reshape(*at.shape, s.dot))


def store_rows(s: State, f: Instruction) -> None:
    """Row tiles out of the global buffer."""
    tiles = s.buffer[_moved(s, f, f["source"])]
    s.image.ddr.write(f["address"] * ADDRESS_UNIT, tiles.astype("<u2").reshape(-1).view(np.uint8))


def _moved(s: State, f: Instruction, first: int) -> Ints:
    """Compact: packed executed rows; else all rows of the block if one executes."""
    executed, tiles = len(listed(s, f)), f["k_tiles"] * (s.rounds if f["tokens"] else 1)
    rows = executed if f["compact"] else f["rows"] * (executed > 0)
    return places(first, tiles, np.arange(rows), f["rows"])


def load_constants(s: State, f: Instruction) -> None:
    """A constants half, or the ROT buffer, from its beginning on."""
    data: Bits = s.image.ddr.read(f["address"] * ADDRESS_UNIT, f["columns"] * ADDRESS_UNIT).view("<u2")
    target = s.rotary if f["value"] else s.constants[f["half"]]
    target[: len(data)] = data


def load_weights(s: State, f: Instruction) -> None:
    """Words of a chunk of every port, that of port 0 first; nothing where no row executes."""
    if f["gate"] != Gate.ALL and len(listed(s, f)) == 0:
        return
    size, first = f["columns"] * s.overlay.chunk_bytes, f["address"] * ADDRESS_UNIT
    ports = [port.read(first, size).reshape(f["columns"], -1) for port in s.image.hbm]
    s.weights.append(np.stack(ports, axis=1).reshape(-1))
