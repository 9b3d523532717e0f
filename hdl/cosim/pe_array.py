"""Co-simulation of the PE array: RTL = numerics in every bit, = simulator in every cycle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.pe_array_events import EVENTS, STREAMS
from skipopu.hdl.cosim.pe_array_model import expected_results, simulated_trace
from skipopu.hdl.cosim.pe_array_stimulus import Operation, operations
from skipopu.hdl.cosim.pe_array_streams import operation_words, row_requests, row_words, weight_words
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.pe_array import PeArray
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.pe_array_bench"


@dataclass(frozen=True)
class PeArrayRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    operations: int
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
    work = operations(overlay, tiles, rng)
    stalls = patterns(rng, STREAMS)
    trace = simulated_trace(work, overlay, stalls)
    given = _inputs(work, overlay, len(trace)) | {f"stall_{name}": stalls[name] for name in STREAMS}
    difference = _compare(work, overlay, trace, testbench.outputs(given))
    seconds = testbench.build_seconds, testbench.run_seconds
    return _summary(overlay, work, len(trace), seconds, difference)


def _inputs(work: Sequence[Operation], overlay: Overlay, cycles: int) -> dict[str, Any]:
    def table(rows: list[bytes]) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)

    return {
        "cycles": cycles, "row_latency": overlay.global_buffer.read_stages,
        "operations": np.array(operation_words(work), np.uint64),
        "weight_words": table(weight_words(work, overlay.hbm_bytes_per_cycle)), "row_words": table(row_words(work)),
    }  # fmt: skip


def _compare(
    work: Sequence[Operation], overlay: Overlay, trace: NDArray[np.uint8], found: dict[str, NDArray[Any]]
) -> Difference | None:
    """Cycles first: a result that comes at another time is not the same result."""
    sums, last = _split(found["results"], overlay)
    expected = expected_results(work, overlay)
    columns = tuple(f"column {c}" for c in range(overlay.pe_array.columns))
    bits = tuple(f"{name} moves" for name in EVENTS)
    return (
        first_difference("cycle", _bits(trace), _bits(found["events"]), bits)
        or first_difference("request", np.array(row_requests(work))[:, None], found["requests"][:, None], ("payload",))
        or first_difference("entry", expected, sums, columns)
        or first_difference("entry", _last_entries(work, overlay)[:, None], last[:, None], ("last",))
    )


def _bits(events: NDArray[np.uint8]) -> NDArray[Any]:
    return events[:, None] >> np.arange(len(EVENTS), dtype=np.uint8) & 1


def _split(results: NDArray[np.uint8], overlay: Overlay) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Sums, [entries, columns], and the ``last`` bits of the payloads."""
    size = FORMATS[overlay.psum.format].bits // 8
    body = np.ascontiguousarray(results[:, :-1]).view(f"<u{size}").astype(np.uint32)
    return body, results[:, -1] & 1


def _last_entries(work: Sequence[Operation], overlay: Overlay) -> NDArray[np.uint8]:
    counts = [o.rows * min(o.depth, overlay.psum.interleave) for o in work for _ in range(o.blocks)]
    last = np.zeros(sum(counts), np.uint8)
    last[np.cumsum(counts) - 1] = 1
    return last


def _summary(
    overlay: Overlay, work: Sequence[Operation], cycles: int, seconds: tuple[float, float],
    difference: Difference | None,
) -> PeArrayRun:  # fmt: skip
    pe = overlay.pe_array
    rows = sum(o.rows * o.tiles for o in work)
    entries = sum(o.rows * min(o.depth, overlay.psum.interleave) * o.blocks for o in work)
    return PeArrayRun(
        overlay.name, len(work), sum(o.tiles for o in work), rows * pe.columns * pe.dot_length, entries, cycles,
        *seconds, difference,
    )  # fmt: skip
