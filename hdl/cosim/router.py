"""Co-simulation of the router path: RTL = numerics in every bit, = simulator in every cycle, = NumPy in every list."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.router_given import given_table
from skipopu.hdl.cosim.router_lists import list_difference
from skipopu.hdl.cosim.router_model import UNSAID, expected_table
from skipopu.hdl.cosim.router_shell import RouterShell, fields, found_layout, given_layout, names, words
from skipopu.hdl.cosim.router_stimulus import Operation, work
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.row_list import READERS
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.word_bench"


@dataclass(frozen=True)
class RouterRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    operations: int
    tokens: int  # routed
    executed: int  # decisions for it; a token of both gates takes two
    ties: int  # decisions between equal logits
    nans: int  # decisions with a NaN
    reads: int  # lookups compared: both readers, row bits, bitmask
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, tiles: int, seed: int, *, rtl: Overlay | None = None, waves: Path | None = None
) -> RouterRun:
    """Route at least ``tiles`` random tokens through RTL, simulator, numerics and NumPy.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    testbench = Testbench(RouterShell(overlay=rtl or overlay), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    todo = work(overlay, tiles, rng)
    given = given_table(todo, overlay, rng)
    answers = testbench.outputs({"given": words(given, given_layout(overlay))})
    expected, found = expected_table(given, overlay), fields(answers["found"], found_layout(overlay))
    signals = names(found_layout(overlay))
    said = np.where(expected == UNSAID, found, expected)
    difference = first_difference("cycle", said, found, signals) or list_difference(todo, found, signals)
    scans = int(given[:, names(given_layout(overlay)).index("scan_enable")].sum())
    reads = len(given) * (len(READERS) + 1) + scans
    return RouterRun(
        overlay.name, len(todo.operations), sum(o.rows for o in todo.operations), *_decisions(todo.operations), reads,
        len(given), testbench.build_seconds, testbench.run_seconds, difference,
    )  # fmt: skip


def _decisions(operations: Sequence[Operation]) -> tuple[int, int, int]:
    """Decisions to execute, ties, decisions with a NaN."""
    executes = sum(int(each.sum()) for o in operations for each in o.executes.values())
    pairs: list[NDArray[np.float32]] = [pair for o in operations for pair in o.numbers.values()]
    ties = sum(int((execute == skip).sum()) for execute, skip in pairs)
    return executes, ties, sum(int(np.isnan(pair).any(axis=0).sum()) for pair in pairs)
