"""Co-simulation of the NPE's operand side: RTL = numerics in every bit, = simulator in every cycle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.npe_operands_events import EVENTS, STREAMS
from skipopu.hdl.cosim.npe_operands_expected import Expected, Model
from skipopu.hdl.cosim.npe_operands_model import Trace, simulated_trace
from skipopu.hdl.cosim.npe_operands_shell import STATISTICS, NpeOperands
from skipopu.hdl.cosim.npe_operands_stimulus import FUNCTIONS, Operation, operations
from skipopu.hdl.cosim.npe_operands_words import inputs_of, statistics_rows, write_backs
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.npe_operands_bench"


@dataclass(frozen=True)
class NpeOperandsRun:
    """What was compared, and the first difference if there is one; ``elements``: fewest and most of a row."""

    overlay: str
    functions: dict[str, int]  # row tiles of each
    operations: int
    elements: tuple[int, int]
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, tiles: int, seed: int, *, rtl: Overlay | None = None, waves: Path | None = None
) -> NpeOperandsRun:
    """Run at least ``tiles`` row tiles of every function with random stalls through RTL, simulator and numerics.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    block = NpeOperands(overlay=rtl or overlay)
    testbench = Testbench(Shell(block=block), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    work = operations(overlay, tiles, rng)
    stalls = patterns(rng, STREAMS)
    trace = simulated_trace(work, overlay, stalls)
    given = inputs_of(work, overlay) | {f"stall_{name}": stalls[name] for name in STREAMS}
    given |= {"events": trace.events, "starts": trace.starts, "read_stages": overlay.global_buffer.read_stages}
    given |= {"flags_in": np.array(flag_names(block, In)), "flags_out": np.array(flag_names(block, Out))}
    difference = _compare(work, trace, Model(overlay).run(work), testbench.outputs(given))
    functions = {name: sum(o.functions.get(name, 0) for o in work) for name in FUNCTIONS}
    elements = min(o.rows.elements for o in work), max(o.rows.elements for o in work)
    return NpeOperandsRun(
        overlay.name, functions, len(work), elements, len(trace.events), testbench.build_seconds,
        testbench.run_seconds, difference,
    )


def _compare(
    work: Sequence[Operation], trace: Trace, expected: Expected, found: dict[str, NDArray[Any]]
) -> Difference | None:
    """Values in the order in which they leave, as far as the cycles agree; then the cycles."""
    lanes = tuple(f"lane {k}" for k in range(found["rows"].shape[1]))
    whole = len(found["events"]) == len(trace.events)

    def difference(kind: str, model: NDArray[Any], rtl: NDArray[Any], names: Sequence[str]) -> Difference | None:
        return first_difference(kind, model if whole else model[: len(rtl)], rtl, names)

    differences = (
        *(difference(n, np.concatenate(getattr(expected, n))[:, None], found[n][:, None], (n,)) for n in STATISTICS),
        difference("row", np.concatenate(expected.rows), found["rows"], lanes),
        difference("look-up", statistics_rows(work)[:, None], found["read_row"][:, None], ("statistics row",)),
        difference("write-back", np.array(write_backs(work))[:, None], found["write_back"][:, None], ("payload",)),
        first_difference("cycle", _bits(trace.events), _bits(found["events"]), tuple(f"{n} moves" for n in EVENTS)),
    )
    return next((each for each in differences if each), None)


def _bits(events: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(events[:, None], axis=1, bitorder="little", count=len(EVENTS))
