"""Small random models, the traces of their own decisions, and the programs of those."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from direct import Direct
from numpy.typing import NDArray

from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.program.image_vectors import token_rows
from skipopu.program.parameters import ModelParameters
from skipopu.program.program import Program
from skipopu.program.random_parameters import random_parameters
from skipopu.sim.functional.machine import Outcome, run
from skipopu.spec.board import Board
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Header, Provenance, Router, StepPhase, Steps, Trace, make_trace

BOARD = Board.load("u280")
DIMENSIONS: dict[str, Any] = {
    "layers": 3, "hidden_size": 64, "intermediate_size": 128, "attention_heads": 4, "kv_heads": 2, "head_dim": 16,
    "vocabulary": 100, "tied_embeddings": False, "qkv_bias": False, "qk_norm": False,
}  # fmt: skip
LINEAR = Router(kind="linear", ffn_input="post_attention", always_on_attention=(0,))


@dataclass(frozen=True)
class Case:
    """A model, its routing, its sequence, an overlay."""

    settings: tuple[str, ...] = ()
    dimensions: tuple[tuple[str, Any], ...] = ()
    router: Router = LINEAR
    policy: str = "reuse_last"
    steps: tuple[int, ...] = (13, 1, 1, 1, 1)  # tokens; one is a decode step
    seed: int = 3
    machine: str = "tiny"
    overlay: Overlay = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "overlay", Overlay.load(self.machine, self.settings))


@dataclass(frozen=True)
class Made:
    """What a case amounts to, and what must come of it."""

    parameters: ModelParameters
    program: Program
    logits: NDArray[np.uint16]  # [steps, vocabulary]
    direct: Direct


@cache
def made(case: Case) -> Made:
    """Compute directly in the compiler's row blocks, until the decisions lead to the same blocks."""
    shape = ModelShape.from_values("small", "a test", **(DIMENSIONS | dict(case.dimensions)))
    datatypes, tokens = case.overlay.datatypes, sum(case.steps)
    parameters = random_parameters(shape, case.router, tokens, case.seed, datatypes.weights, datatypes.lm_head)
    header = Header("test", shape, case.router, case.policy, Provenance("synthetic", 0, {}, "a test"))
    everything = np.ones((2, shape.dimensions.layers, tokens), np.bool_)
    program = compile_trace(_trace(case, header, everything), case.overlay, BOARD)
    while True:
        direct, logits = _directly(case, parameters, header, program)
        found = np.stack([direct.ran["attention"], direct.ran["ffn"]])
        before, program = program, compile_trace(_trace(case, header, found), case.overlay, BOARD)
        if np.array_equal(before.context.passes.rows, program.context.passes.rows):
            return Made(parameters, program, logits, direct)


def _trace(case: Case, header: Header, ran: NDArray[np.bool_]) -> Trace:
    phases = [StepPhase.DECODE if count == 1 else StepPhase.PREFILL for count in case.steps]
    ids = np.random.default_rng(case.seed).integers(0, header.shape.dimensions.vocabulary, sum(case.steps))
    kv = np.ones_like(ran[0]) if case.policy == "dense" else ran[0]
    steps = Steps.of(phases, list(case.steps))
    return make_trace(header, steps, q=ran[0], kv=kv, ffn=ran[1], token_ids=ids.astype(np.int32))


def _directly(
    case: Case, parameters: ModelParameters, header: Header, program: Program
) -> tuple[Direct, NDArray[np.uint16]]:
    passes, rows = program.context.passes, token_rows(program.context, parameters)
    direct, logits = Direct(parameters, header, case.overlay, sum(case.steps)), {}
    for step, first, count, decode in zip(passes.step, passes.first, passes.rows, passes.decode, strict=True):
        logits[int(step)] = direct.block(rows[first : first + count], int(first), bool(decode))
    return direct, np.stack(list(logits.values()))


@cache
def outcome(case: Case) -> Outcome:
    """The program on the functional machine."""
    found = made(case)
    return run(found.program, build_image(found.program, found.parameters))
