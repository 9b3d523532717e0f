"""What the DDR4 engines must have moved: worked out from the instructions and the image, byte by byte.

Nothing here is shared with the simulator or the RTL. When a tile is written or read is taken from the run; which one,
and what stands in it, is not.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim import ddr_events as events
from skipopu.hdl.cosim.ddr_memory_state import striped, unstriped
from skipopu.hdl.cosim.ddr_stimulus import AT, CYCLES, DdrWork, Ints
from skipopu.hdl.global_buffer import write_back_latency, write_granule
from skipopu.program.isa import Opcode
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS, FP16_BYTES, Overlay

Bytes = NDArray[np.uint8]
WORD = DDR_BEAT_BYTES * DDR_CHANNELS
READS = (("append_data", events.APPEND), ("residual_data", events.RESIDUAL), ("operand_data_a", events.OPERAND),
         ("operand_data_b", events.OPERAND))  # fmt: skip
SECOND = READS[-1][0]  # only where operands are packed


@dataclass
class Moved:
    """Sequences that the run must have shown."""

    tile_address: list[int] = field(default_factory=list)  # of row tiles written, read
    read_address: list[int] = field(default_factory=list)
    constants: list[tuple[int, int, Bytes]] = field(default_factory=list)  # half, word, data
    rotary: list[tuple[int, Bytes]] = field(default_factory=list)
    fetched: list[Bytes] = field(default_factory=list)
    reads: dict[str, list[Bytes]] = field(default_factory=dict)
    contents: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint64))


def places(instruction: Ints, place: str) -> list[int]:
    """Tiles of the global buffer in the order in which they lie in DDR4."""
    rows, moved = instruction[AT["rows"]], int(instruction[AT["moved"]])
    tiles = instruction[AT["amount"]] // max(moved, 1)
    return [int(instruction[AT[place]] + t * rows + r) for t in range(tiles) for r in range(moved)]


def moved(overlay: Overlay, work: DdrWork, trace: Ints) -> Moved:
    """Follow the run from cycle to cycle: reads find what was written in the cycles before."""
    image, size = unstriped(work.contents).copy(), overlay.tile_bytes
    found = Moved(reads={name: [] for name, _ in READS})
    tiles = _loads(work, image, size, found)
    found.read_address = [tile for each in work.store for tile in places(each, "source")]
    beats = image.reshape(-1, DDR_CHANNELS, DDR_BEAT_BYTES)
    found.fetched = [beats[first + n, 0] for first, count in work.fetch.tolist() for n in range(count)]
    stored = _follow(overlay, work, trace, tiles, found)
    _stores(work, image, stored)
    found.contents = striped(image.tobytes(), work.contents.shape[1])
    return found


def _loads(work: DdrWork, image: Bytes, size: int, found: Moved) -> list[Bytes]:
    """Row tiles in order; constants and rotary on the way."""
    tiles: list[Bytes] = []
    for each in work.load:
        begin = int(each[AT["address"]]) * DDR_BEAT_BYTES
        if each[AT["opcode"]] == Opcode.LOAD_ROWS:
            order = places(each, "target")
            found.tile_address += order
            tiles += [image[begin + n * size : begin + (n + 1) * size].copy() for n in range(len(order))]
            continue
        for n in range(-(-int(each[AT["columns"]]) // DDR_CHANNELS)):
            word = image[begin + n * WORD : begin + (n + 1) * WORD].copy()
            if each[AT["value"]]:
                found.rotary.append((n, word))
            else:
                found.constants.append((int(each[AT["half"]]), n, word))
    return tiles


def _follow(overlay: Overlay, work: DdrWork, trace: Ints, tiles: list[Bytes], found: Moved) -> list[Bytes]:
    """Return the tiles that the store engine reads."""
    buffer, size = np.zeros((overlay.global_buffer.tiles, overlay.tile_bytes), np.uint8), write_granule(overlay)
    written, stored, addresses = 0, list[Bytes](), found.tile_address
    packed = work.stalls["packed"]
    latencies = overlay.result_latency, write_back_latency(overlay)
    for cycle, seen in enumerate(trace.tolist()):
        at = work.addresses[cycle % CYCLES]
        if seen >> events.READ & 1 and len(stored) < len(found.read_address):
            stored.append(buffer[found.read_address[len(stored)]].copy())
        for column, (name, event) in enumerate(READS):
            if seen >> event & 1 and (name != SECOND or packed[cycle % len(packed)]):
                found.reads[name].append(buffer[at[column]].copy())
        if seen >> events.WRITTEN & 1 and written < len(tiles):
            buffer[addresses[written]] = tiles[written]
            written += 1
        for number, (event, latency) in enumerate(zip((events.RESULT, events.WRITE_BACK), latencies, strict=True)):
            if cycle >= latency and trace[cycle - latency] >> event & 1:
                _write(buffer, work, (cycle - latency) % CYCLES, number, size * FP16_BYTES)
    return stored


def _write(buffer: Bytes, work: DdrWork, place: int, number: int, size: int) -> None:
    """A result writes the parts in its mask, a tile that goes back all of it."""
    mask = int(work.mask[place]) if number == 0 else -1
    target, data = buffer[work.addresses[place, 4 + number]], work.data[place, number]
    for part in range(len(target) // size):
        if mask >> part & 1:
            target[part * size : (part + 1) * size] = data[part * size : (part + 1) * size]


def _stores(work: DdrWork, image: Bytes, stored: list[Bytes]) -> None:
    """Whole words, the last one filled up with zeros."""
    done = 0
    for each in work.store:
        count, begin = int(each[AT["amount"]]), int(each[AT["address"]]) * DDR_BEAT_BYTES
        data = b"".join(tile.tobytes() for tile in stored[done : done + count])
        data += bytes(-len(data) % WORD)
        image[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
        done += count
