"""Co-simulation of the constants: every read finds what was written last, every stream its words without a gap."""

from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.constants import Constants, readers
from skipopu.hdl.constants_memory import HALVES, WRITE_BYTES
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.router_weights import router_start
from skipopu.spec.overlay import DDR_BEAT_BYTES, Overlay

BENCH = "skipopu.hdl.cosim.constants_bench"
WRITES = 0.5  # share of the cycles
Ints = NDArray[np.int64]


def cosimulate(overlay: Overlay, cycles: int, seed: int) -> tuple[int, Difference | None]:
    """Run so many cycles; return the words streamed and the first difference."""
    block, rng = Constants(overlay=overlay), np.random.default_rng(seed)
    size = overlay.constants.half_bytes
    stalls = patterns(rng, ("take", "start"))
    reads = np.stack([
        np.stack([rng.integers(HALVES, size=cycles), rng.integers(-(-size // width), size=cycles)], axis=1)
        for width in readers(overlay).values()
    ], axis=1)  # fmt: skip
    writes = np.where(rng.random(cycles) < WRITES, rng.integers(size // WRITE_BYTES, size=cycles), -1)
    starts = _starts(overlay, cycles, rng)
    layout = router_start(size)
    words = [layout.const({"half": h, "address": a, "words": n}).as_bits() for h, a, n in starts.tolist()]
    given: dict[str, Any] = {
        "reads": reads, "writes": writes, "data": rng.integers(256, size=(cycles, WRITE_BYTES), dtype=np.uint8),
        "starts": np.stack([np.array(words, np.int64), starts[:, 0], starts[:, 2]], axis=1),
        "readers": list(readers(overlay)), "read_stages": overlay.global_buffer.read_stages,
        "flags_in": flag_names(block, In), "flags_out": flag_names(block, Out),
        **{f"stall_{name}": pattern for name, pattern in stalls.items()},
    }  # fmt: skip
    found = Testbench(Shell(block=block), BENCH).outputs(given)
    return len(found["words"]), _compare(overlay, given, starts, found)


def _starts(overlay: Overlay, count: int, rng: np.random.Generator) -> Ints:
    """Streams [half, 64-byte word, words] that end within the half."""
    beats = overlay.constants.half_bytes // DDR_BEAT_BYTES
    begin = rng.integers(beats, size=count)
    most = (beats - begin) * DDR_BEAT_BYTES // overlay.ker.constant_bytes_per_cycle
    begin, most = np.where(most > 0, begin, 0), np.where(most > 0, most, 1)
    lengths = rng.integers(1, np.minimum(most, 24) + 1)
    return np.stack([rng.integers(HALVES, size=count), begin, lengths], axis=1)


def _compare(overlay: Overlay, given: dict[str, Any], starts: Ints, found: Arrays) -> Difference | None:
    """Follow the writes of the run cycle by cycle."""
    size, word = overlay.constants.half_bytes, overlay.ker.constant_bytes_per_cycle
    halves, trace = np.zeros((HALVES, size), np.uint8), found["trace"]
    reads: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in readers(overlay)}
    words: list[NDArray[np.uint8]] = []
    valid = np.zeros(len(trace), np.int64)
    left = due = 0
    for cycle, (half, start, _, taken) in enumerate(trace.tolist()):
        for (name, width), (its, place) in zip(readers(overlay).items(), given["reads"][cycle].tolist(), strict=True):
            reads[name].append(halves[its, place * width : (place + 1) * width].copy())
        if start >= 0:
            its, begin, left = starts[start].tolist()
            data = halves[its, begin * DDR_BEAT_BYTES :][: left * word].copy()
            words += list(data.reshape(left, word))
            due = cycle + overlay.router_weights_latency
        valid[cycle] = left > 0 and cycle >= due
        left -= taken
        if half >= 0:
            place = given["writes"][cycle] * WRITE_BYTES
            halves[half, place : place + WRITE_BYTES] = given["data"][cycle]
    difference = first_difference("cycle", valid[:, None], trace[:, 2:3], ("stream valid",))
    tables = {"words": np.array(words, np.uint8).reshape(-1, word)[: len(found["words"])]}
    tables |= {name: np.array(rows, np.uint8)[: len(found[name])] for name, rows in reads.items()}
    for name, table in tables.items():
        signals = tuple(f"byte {n}" for n in range(table.shape[1]))
        difference = difference or first_difference(name, table, found[name], signals)
    return difference
