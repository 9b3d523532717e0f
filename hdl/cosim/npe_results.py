"""Co-simulation of the NPE's result path: RTL = numerics in every bit, = simulator in every cycle."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data
from numpy.typing import NDArray

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.npe_results_events import EVENTS, STREAMS
from skipopu.hdl.cosim.npe_results_expected import REQUEST, WORD, Expected, expected
from skipopu.hdl.cosim.npe_results_model import simulated_trace
from skipopu.hdl.cosim.npe_results_shell import NpeResults
from skipopu.hdl.cosim.npe_results_stimulus import Operation, Stimulus
from skipopu.hdl.cosim.npe_results_words import entry_words, fields, operation_words, side_words, transferred
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.npe.result_operation import LOGITS, half_words, lanes_of, request_layout, single_words, word_layout
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.npe_results_bench"


@dataclass(frozen=True)
class NpeResultsRun:
    """What was compared, and the first difference if there is one.

    ``functions``: words of each use; ``rows``: fewest and most of an operation.
    """

    overlay: str
    functions: dict[str, int]
    operations: int
    rows: tuple[int, int]
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, tiles: int, seed: int, *, rtl: Overlay | None = None, waves: Path | None = None
) -> NpeResultsRun:
    """Run ``tiles`` words of every function, with random stalls, through RTL, simulator and numerics.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    testbench = Testbench(NpeResults(overlay=rtl or overlay), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    stimulus = Stimulus(overlay, rng)
    rotary, work, stalls = stimulus.rotary(), stimulus.operations(tiles), patterns(rng, STREAMS)
    trace = simulated_trace(work, overlay, stalls)
    given = _inputs(work, overlay, rotary, trace) | {f"stall_{name}": stalls[name] for name in STREAMS}
    difference = _compare(overlay, trace, expected(work, overlay, rotary), testbench.outputs(given))
    words: Counter[str] = Counter()
    for operation in work:
        words[operation.kind] += operation.row_words
    rows = min(o.rows for o in work), max(o.rows for o in work)
    seconds = testbench.build_seconds, testbench.run_seconds
    return NpeResultsRun(overlay.name, dict(words), len(work), rows, len(trace), *seconds, difference)


def _inputs(
    work: Sequence[Operation], overlay: Overlay, rotary: NDArray[np.uint16], trace: NDArray[np.uint8]
) -> dict[str, Any]:
    sums = np.concatenate([entry_words(o.sums) for o in work])
    return {
        "operations": operation_words(work, overlay), "sums": sums, "rotary": transferred(rotary),
        "side": side_words(work), "row_latency": overlay.global_buffer.read_stages, "expected": trace,
    }  # fmt: skip


def _compare(overlay: Overlay, trace: NDArray[np.uint8], model: Expected, found: Arrays) -> Difference | None:
    """Cycles first: a word that comes at another time is not the same word."""
    lanes = lanes_of(overlay)
    result = data.StructLayout({"result": half_words(lanes), "word": word_layout(overlay)})
    logits = data.StructLayout({"logits": single_words(LOGITS), "row": Shape(ROW_BITS)})
    bits = tuple(f"{name} moves" for name in EVENTS)
    numbered = tuple(f"lane {lane}" for lane in range(lanes))
    totals = tuple(f"logit {k}" for k in range(LOGITS))
    return (
        first_difference("cycle", _bits(trace), _bits(found["trace"]), bits)
        or first_difference("request", model.requests, fields(found["request"], request_layout(overlay)), REQUEST)
        or first_difference("result", model.results, fields(found["result"], result), (*numbered, *WORD))
        or first_difference("logits", model.logits, fields(found["logits"], logits), (*totals, "row"))
    )


def _bits(events: NDArray[np.uint8]) -> NDArray[Any]:
    return events[:, None] >> np.arange(len(EVENTS), dtype=np.uint8) & 1
