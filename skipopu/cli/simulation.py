"""Simulations as the commands run them: with a progress bar, and named figures afterwards."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skipopu.cli.terminal import progress, say

if TYPE_CHECKING:
    from skipopu.results.result import Result
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace


def run(
    label: str, trace: "Trace", overlay: "Overlay", board: "Board", max_cycles: int | None = None
) -> "Result":
    """Simulate ``trace`` with a bar named ``label``; see `skipopu.simulate`."""
    from skipopu import simulate

    with progress(label) as report:
        return simulate(trace, overlay, board, max_cycles=max_cycles, progress=report)


def timed(*arguments: Any) -> "tuple[Result, str]":
    """As `run`; return also a phrase on how fast the simulator was."""
    start = time.perf_counter()
    result = run(*arguments)
    seconds = time.perf_counter() - start
    million = result.run.core_cycles / 1e6
    return result, f"simulated {million:.3g} M core cycles in {seconds:.3g} s ({million / seconds:.3g} M/s)"


def show(summaries: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> None:
    """Print the headline figures side by side, ratios against the first."""
    from skipopu.results import compare

    rows = compare.compare(summaries)
    if not sys.stdout.isatty():
        say(compare.text(rows, titles))
        return
    from rich.console import Console

    Console().print(compare.table(rows, titles))
