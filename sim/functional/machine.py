"""Runs a program on an image, in program order; the routers' decisions are the machine's own."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.program.image import Image, logits_of
from skipopu.program.isa import NAMES, Gate, Opcode, decode
from skipopu.program.program import Program
from skipopu.sim.error import SimulationError
from skipopu.sim.functional.attention import run_context, run_scores, score_probabilities, score_statistics
from skipopu.sim.functional.cache import append_kv, read_kv
from skipopu.sim.functional.matrix import normalise, run_matmul, run_route, take_statistics
from skipopu.sim.functional.state import Bits, Instruction, State, Written, listed, new_state, places, write
from skipopu.sim.functional.transfers import load_constants, load_rows, load_weights, store_rows


class DecisionError(SimulationError):
    """A router decided otherwise than the trace that the program was compiled from."""


@dataclass(frozen=True)
class Outcome:
    """What is left: ``image`` with the final memories, the logits of every step, FP16 bits [steps, vocabulary].

    ``attention``, ``ffn`` [layers, tokens]: which rows executed. ``log``: every tile written, where asked for.
    """

    image: Image
    logits: Bits
    attention: NDArray[np.bool_]
    ffn: NDArray[np.bool_]
    log: tuple[Written, ...]
    state: State


def run(program: Program, image: Image, log: bool = False) -> Outcome:
    """Execute all instructions on a copy of ``image``; raises DecisionError naming layer and token."""
    c = program.context
    state = new_state(c.overlay, image.copy(), log)
    taken = {gate: np.ones((c.trace.layers, c.trace.tokens), np.bool_) for gate in (Gate.ATTENTION, Gate.FFN)}
    steps, logits = program.tags[:, 0], []
    for index, row in enumerate(decode(program.words)):
        f = dict(zip(NAMES, map(int, row), strict=True))
        if index and (steps[index] != steps[index - 1] or f["opcode"] == Opcode.HALT):
            logits.append(logits_of(state.image.ddr, c))
        if f["opcode"] == Opcode.HALT:
            break
        state.instruction = index
        EXECUTE[Opcode(f["opcode"])](state, f)
        if f["opcode"] == Opcode.ROUTE and f["columns"]:
            _check_decisions(program, state, f, taken)
    return Outcome(state.image, np.stack(logits), taken[Gate.ATTENTION], taken[Gate.FFN], tuple(state.log or ()), state)


def _check_decisions(program: Program, s: State, f: Instruction, taken: dict[Gate, NDArray[np.bool_]]) -> None:
    """Keep the masks that a route wrote; they must be the trace's, for places and rounds were made for those."""
    _, layer, first = (int(tag) for tag in program.tags[s.instruction])
    for gate, kind in ((Gate.ATTENTION, "q"), (Gate.FFN, "ffn")):
        if f["gate"] not in (Gate.ALL, gate):
            continue
        found = s.masks[gate, f["mask"]]
        wanted = program.context.trace.rows("q" if kind == "q" else "ffn")[layer, first : first + f["rows"]]
        taken[gate][layer, first : first + f["rows"]] = found
        other = np.flatnonzero(found != wanted)
        if other.size:
            row, words = int(other[0]), ("skip", "execute")
            raise DecisionError(
                f"instruction {s.instruction}: layer {layer}, {gate.name.lower()} of token {first + row}: the router"
                f" decides {words[int(found[row])]}, the trace has {words[int(wanted[row])]}; compile a trace of"
                " this model's own decisions"
            )


def _statistics(s: State, f: Instruction) -> None:
    """Of raw scores, or of rows of numbers."""
    if f["tokens"]:
        return score_statistics(s, f)
    rows = listed(s, f)
    return take_statistics(s, s.buffer[places(f["source"], f["k_tiles"], rows, f["rows"])], rows)


def _normalize(s: State, f: Instruction) -> None:
    """Raw scores into probabilities, or rows of numbers by their statistics."""
    if f["tokens"]:
        return score_probabilities(s, f)
    rows = listed(s, f)
    x = s.buffer[places(f["source"], f["k_tiles"], rows, f["rows"])]
    at = places(f["target"], f["k_tiles"], rows, f["rows"])
    return write(s, at, normalise(s, x, rows, f["half"], f["k_tiles"]))


EXECUTE: dict[Opcode, Callable[[State, Instruction], None]] = {
    Opcode.LOAD_WEIGHTS: load_weights, Opcode.LOAD_ROWS: load_rows, Opcode.LOAD_CONSTANTS: load_constants,
    Opcode.STORE_ROWS: store_rows, Opcode.READ_KV: read_kv, Opcode.APPEND_KV: append_kv, Opcode.MATMUL: run_matmul,
    Opcode.SCORES: run_scores, Opcode.CONTEXT: run_context, Opcode.ROUTE: run_route,
    Opcode.STATISTICS: _statistics, Opcode.NORMALIZE: _normalize,
}  # fmt: skip
