"""A case for the overlay: a model's numbers, the program of what its routers decide, and what numerics make of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from skipopu.program.compiler import compile_trace
from skipopu.program.numerical_run import NumericalRun, run_numerics
from skipopu.program.parameters import ModelParameters
from skipopu.program.program import Program
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay
from skipopu.trace import Header


@dataclass(frozen=True)
class Case:
    """What is run, and what must come of it."""

    overlay: Overlay
    board: Board
    parameters: ModelParameters
    program: Program
    numerics: NumericalRun


def decided_case(
    parameters: ModelParameters, header: Header, prompt: Sequence[int], decode: int, overlay: Overlay, board: Board
) -> Case:
    """Let the routers decide under the overlay's numerics, and compile what they decided.

    Raises SpecError for what the compiler cannot carry.
    """
    numerics = run_numerics(parameters, header, overlay, board, prompt, decode)
    return Case(overlay, board, parameters, compile_trace(numerics.trace, overlay, board), numerics)
