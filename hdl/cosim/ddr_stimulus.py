"""Random work for load and store, for the instruction fetch, and for the other users of the global buffer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.ddr_events import GIVEN_FIELDS, INSTRUCTION_FIELDS, PATTERNS
from skipopu.hdl.cosim.stalls import Pattern, patterns
from skipopu.hdl.global_buffer import tile_bits, write_granule
from skipopu.program.isa import Gate, Opcode
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES, DDR_CHANNELS, Overlay

Ints = NDArray[np.int64]
FIELDS = (*INSTRUCTION_FIELDS, *GIVEN_FIELDS)
AT = {name: column for column, name in enumerate(FIELDS)}
REGION = 2048  # beats of a channel that are read, and as many that are written
FETCH_PAGE = 64  # beats
FETCHES, FETCH_RATE = 4, 1 / 32  # bursts of instructions for each load, and a cycle: they meet its bursts to the end
CYCLES = 4096  # after which the numbers of the other users come again
LARGE, CONSTANTS, SKIPPED = 0.1, 0.25, 0.08  # shares of the instructions


@dataclass(frozen=True)
class DdrWork:
    """What is asked for."""

    load: Ints  # [instruction, FIELDS]
    store: Ints
    fetch: Ints  # [request, (beat address, beats)]
    contents: NDArray[np.uint64]  # of the DDR4, [channel, beat, word]
    addresses: Ints  # [cycle, tile address of append, residual, operand a and b, result, write-back]
    data: NDArray[np.uint8]  # [cycle, (result, write-back), byte]
    mask: Ints  # [cycle]: of a result
    stalls: dict[str, Pattern]


def ddr_work(overlay: Overlay, instructions: int, rng: np.random.Generator) -> DdrWork:
    """Return random work of so many loads, and as many stores."""
    tiles = overlay.global_buffer.tiles
    granules = overlay.pe_array.dot_length // write_granule(overlay)
    fetches = FETCHES * instructions
    fetch = np.stack([rng.integers(REGION // FETCH_PAGE, size=fetches) * FETCH_PAGE,
                      rng.integers(1, AXI3_BURST_BEATS + 1, size=fetches)], axis=1)  # fmt: skip
    return DdrWork(
        load=np.stack([_load(overlay, rng) for _ in range(instructions)]),
        store=np.stack([_store(overlay, rng) for _ in range(instructions)]),
        fetch=fetch.astype(np.int64),
        contents=rng.integers(2**64, size=(DDR_CHANNELS, 2 * REGION, DDR_BEAT_BYTES // 8), dtype=np.uint64),
        addresses=rng.integers(tiles, size=(CYCLES, 6)),
        data=rng.integers(256, size=(CYCLES, 2, tile_bits(overlay) // 8), dtype=np.uint8),
        mask=rng.integers(1, 1 << granules, size=CYCLES),
        stalls=_stalls(rng),
    )  # fmt: skip


def _stalls(rng: np.random.Generator) -> dict[str, Pattern]:
    found = patterns(rng, PATTERNS)
    found["fetch"] &= rng.random(len(found["fetch"])) < FETCH_RATE
    return found


def _load(overlay: Overlay, rng: np.random.Generator) -> Ints:
    if rng.random() >= CONSTANTS:
        return _rows(overlay, rng, Opcode.LOAD_ROWS, "target", 0)
    value = int(rng.random() < 0.3)
    most = (overlay.npe.rotary_bytes if value else overlay.constants.half_bytes) // DDR_BEAT_BYTES
    words = int(rng.integers(1, most + 1 if rng.random() < LARGE else min(most, 12) + 1))
    fields: dict[str, Any] = {
        "opcode": Opcode.LOAD_CONSTANTS, "columns": words, "value": value, "half": rng.integers(2),
        "address": DDR_CHANNELS * rng.integers(REGION - words), "moved": 1, "amount": words,
    }  # fmt: skip
    return _instruction(fields, rng)


def _store(overlay: Overlay, rng: np.random.Generator) -> Ints:
    return _rows(overlay, rng, Opcode.STORE_ROWS, "source", REGION)


def _rows(overlay: Overlay, rng: np.random.Generator, opcode: Opcode, place: str, region: int) -> Ints:
    """Rows of a place that fits, from or to an address of the region, often just below 4 KiB."""
    tiles, beat_tiles = overlay.global_buffer.tiles, overlay.tile_bytes / (DDR_BEAT_BYTES * DDR_CHANNELS)
    large = rng.random() < LARGE
    rows = int(rng.integers(1, 65 if large else 9))
    most = int(min(tiles // rows, (REGION - 64) / beat_tiles / rows, 60 if large else 10))
    every = int(rng.integers(1, max(most, 1) + 1))
    rounds = int(rng.choice([each for each in range(1, every + 1) if every % each == 0]))
    tokens = int(rounds > 1 or rng.random() < 0.2)
    rounds = rounds if tokens else 1
    gate = int(rng.choice(list(Gate)))
    executed = rows if gate == Gate.ALL else 0 if rng.random() < SKIPPED else int(rng.integers(1, rows + 1))
    compact = int(rng.random() < 0.5)
    moved = executed if compact else rows * (executed > 0)
    beats = int(np.ceil(moved * every * beat_tiles))
    beat = int(rng.integers(REGION - beats)) if rng.random() < 0.6 else int(rng.integers(3)) * 64 + 64 - 1
    fields: dict[str, Any] = {
        "opcode": opcode, "gate": gate, "mask": rng.integers(2), "compact": compact, "rows": rows,
        "k_tiles": every // rounds, "tokens": tokens * rng.integers(1, 1000), "stream": rng.integers(2),
        place: rng.integers(tiles - rows * every + 1), "address": DDR_CHANNELS * (region + min(beat, REGION - beats)),
        # a list of rows of other instructions, where this one has none
        "executed": rng.integers(4096) if gate == Gate.ALL else executed,
        "rounds": rounds if tokens else rng.integers(1, 100), "moved": moved, "amount": moved * every,
    }  # fmt: skip
    return _instruction(fields, rng)


def _instruction(fields: dict[str, Any], rng: np.random.Generator) -> Ints:
    found = np.zeros(len(FIELDS), np.int64)
    gap = int(rng.integers(20)) if rng.random() < 0.5 else 0
    for name, value in {**fields, "gap": gap, "blocked": rng.integers(2)}.items():
        found[AT[name]] = int(value)
    return found
