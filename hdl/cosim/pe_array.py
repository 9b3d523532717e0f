"""Co-simulation of the PE array: RTL = numerics in every bit, = simulator in every cycle."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.pe_array_events import EVENTS, STREAMS
from skipopu.hdl.cosim.pe_array_expected import entry_flags, expected_results, round_counts
from skipopu.hdl.cosim.pe_array_model import simulated_trace
from skipopu.hdl.cosim.pe_array_stimulus import Operation, Stimulus, tile_count
from skipopu.hdl.cosim.pe_array_streams import bench_streams, row_requests
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.pe_array import PeArray
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.pe_array_bench"
FLAGS = ("last", "end")  # behind the sums of an entry


@dataclass(frozen=True)
class PeArrayRun:
    """What was compared, and the first difference if there is one.

    ``kinds``: tiles of each kind.
    """

    overlay: str
    operations: int
    kinds: dict[str, int]
    tiles: int
    products: int
    entries: int
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, tiles: int, seed: int, *, rtl: Overlay | None = None, waves: Path | None = None
) -> PeArrayRun:
    """Run ``tiles`` random tiles with random stalls through RTL, simulator and numerics.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    testbench = Testbench(PeArray(overlay=rtl or overlay), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    work = Stimulus(overlay, rng).operations(tiles)
    stalls = patterns(rng, STREAMS)
    trace = simulated_trace(work, overlay, stalls)
    given = _inputs(work, overlay, len(trace)) | {f"stall_{name}": stalls[name] for name in STREAMS}
    difference = _compare(work, overlay, trace, testbench.outputs(given))
    seconds = testbench.build_seconds, testbench.run_seconds
    return _summary(overlay, work, len(trace), seconds, difference)


def _inputs(work: Sequence[Operation], overlay: Overlay, cycles: int) -> dict[str, Any]:
    latency = overlay.global_buffer.read_stages
    return {"cycles": cycles, "row_latency": latency, **bench_streams(work, overlay)}


def _compare(
    work: Sequence[Operation], overlay: Overlay, trace: NDArray[np.uint16], found: dict[str, NDArray[Any]]
) -> Difference | None:
    """Cycles first: a result that comes at another time is not the same result."""
    sums, flags = _split(found["results"], overlay)
    expected = expected_results(work, overlay)
    columns = tuple(f"column {c}" for c in range(overlay.pe_array.columns))
    bits = tuple(f"{name} moves" for name in EVENTS)
    rounds = np.array(round_counts(work))[:, None]
    return (
        first_difference("cycle", _bits(trace, len(EVENTS)), _bits(found["events"], len(EVENTS)), bits)
        or first_difference("request", np.array(row_requests(work))[:, None], found["requests"][:, None], ("payload",))
        or first_difference("entry", expected, sums, columns)
        or first_difference("entry", _bits(entry_flags(work), len(FLAGS)), _bits(flags, len(FLAGS)), FLAGS)
        or first_difference("operation", rounds, found["rounds"][:, None], ("rounds",))
    )


def _bits(words: NDArray[Any], count: int) -> NDArray[Any]:
    return words[:, None] >> np.arange(count, dtype=words.dtype) & 1


def _split(results: NDArray[np.uint8], overlay: Overlay) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Sums, [entries, columns], and the flags of the payloads."""
    size = FORMATS[overlay.psum.format].bits // 8
    body = np.ascontiguousarray(results[:, :-1]).view(f"<u{size}").astype(np.uint32)
    return body, results[:, -1]


def _summary(
    overlay: Overlay, work: Sequence[Operation], cycles: int, seconds: tuple[float, float],
    difference: Difference | None,
) -> PeArrayRun:  # fmt: skip
    pe, kinds = overlay.pe_array, Counter[str]()
    for o in work:
        kinds[o.kind] += o.all_blocks * o.depth
    rows = sum(o.rows * o.all_blocks * o.depth for o in work if o.kind != "nothing")
    entries = sum(o.all_blocks * o.block_entries for o in work)
    return PeArrayRun(
        overlay.name, len(work), dict(kinds), tile_count(work), rows * pe.columns * pe.dot_length, entries, cycles,
        *seconds, difference,
    )  # fmt: skip
