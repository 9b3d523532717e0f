"""Co-design of LLMs with dynamic computation and the FPGA overlay that runs them.

``skipopu.simulate(trace, overlay) -> Result`` is the Python door; everything behind it loads on first use.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from skipopu.results.result import Result
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

    Part = TypeVar("Part", Overlay, Board)

__all__ = ["machine", "simulate"]
BOARD_PREFIX = "board."


def machine(
    overlay: "Overlay | str" = "skipopu-u280", board: "Board | str" = "u280", settings: Iterable[str] = ()
) -> "tuple[Overlay, Board]":
    """Load an overlay and a board, shipped names or ``.toml`` paths, with ``key=value`` settings.

    A setting whose key begins with ``board.`` is the board's (``board.hbm.timing.tRP=5``), any other the
    overlay's. What is loaded already stays as it is and takes no settings. Raises SpecError naming the key,
    the value and what is valid.
    """
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay

    given = tuple(settings)
    ours = tuple(s for s in given if not s.startswith(BOARD_PREFIX))
    theirs = tuple(s.removeprefix(BOARD_PREFIX) for s in given if s.startswith(BOARD_PREFIX))
    with _prefixed_messages():
        chosen_board = Board.load(board, theirs) if isinstance(board, str) else _as_is(board, theirs)
    return Overlay.load(overlay, ours) if isinstance(overlay, str) else _as_is(overlay, ours), chosen_board


def simulate(
    trace: "Trace | str | PathLike[str]",
    overlay: "Overlay | str" = "skipopu-u280",
    board: "Board | str" = "u280",
    settings: Iterable[str] = (),
    *,
    max_cycles: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "Result":
    """Simulate a trace, or the trace file of that name, cycle by cycle and audit the run.

    ``settings`` are ``key=value`` as in `machine` and go with names, not with loaded objects. ``max_cycles``
    ends a run that takes more core cycles; ``progress`` is called with (instructions retired, instructions).
    Raises SpecError for unusable input, SimulationError for a run that does not end, and AuditError
    for one that contradicts itself.
    """
    from skipopu.program.compiler import compile_trace
    from skipopu.results.result import Result
    from skipopu.sim.reference import simulate as run_reference
    from skipopu.trace import Trace, read_trace

    parts = machine(overlay, board, settings)
    loaded = trace if isinstance(trace, Trace) else read_trace(trace)
    program = compile_trace(loaded, *parts)
    run = run_reference(program, *parts, max_cycles=max_cycles, progress=progress)
    return Result.of(run, loaded, *parts)


def _as_is(part: "Part", settings: tuple[str, ...]) -> "Part":
    from skipopu.spec.error import SpecError

    if settings:
        raise SpecError(f"setting {settings[0]}: {part.name} is loaded already; pass its name")
    return part


@contextmanager
def _prefixed_messages() -> Iterator[None]:
    """A board does not know that its keys carry a prefix in settings."""
    from skipopu.spec.error import SpecError

    try:
        yield
    except SpecError as error:
        raise SpecError(str(error).replace("--set ", f"--set {BOARD_PREFIX}", 1)) from None
