"""Programs of visual and static pruning on the RTL: rows gathered, keys without queries, scores, early ends.

Nobody but the functional machine says what such a program computes; RTL and simulator agree with it and each other.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from skipopu.hdl.cosim.overlay import cosimulate
from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl
from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.program.random_parameters import random_parameters
from skipopu.sim.functional.machine import run as run_functional
from skipopu.spec.board import Board
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace
from skipopu.trace.family import generate

pytestmark = pytest.mark.slow

IMAGE = ("system=3", "visual=10")
FAMILIES = {
    "llava": IMAGE,
    "vica": (*IMAGE, "cross_layers=0,2"),
    "hidrop": (*IMAGE, "inject=1", "filters=2", "keep=4", "exit=3"),
    "visipruner": (*IMAGE, "shallow=1", "filter_layer=2", "exit_layer=4", "kept=3"),
    "static": ("kind=block", "sparsity=0.4"),
}
SEED, LAYERS, VOCABULARY = 3, 6, 40


@dataclass(frozen=True)
class FunctionalRun:
    """What a `NumericalRun` says, from the functional machine."""

    trace: Trace
    logits: np.ndarray


@cache
def rtl() -> OverlayRtl:
    return OverlayRtl(Overlay.load("tiny"))


def shape() -> ModelShape:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "attention_heads": 4, "kv_heads": 2, "head_dim": 16}
    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    return ModelShape.from_values("small", "a test", layers=LAYERS, vocabulary=VOCABULARY, **sizes, **flags)


def case(name: str) -> Case:
    overlay, board = Overlay.load("tiny"), Board.load("u280")
    made = generate(name, shape(), prompt=5, decode=2, seed=SEED, knobs=FAMILIES[name])
    ids = np.random.default_rng(SEED).integers(VOCABULARY, size=made.tokens).astype(np.int32)
    trace = Trace(made.header, made.steps, {**made.arrays, "token_ids": ids}, made.events)
    types = overlay.datatypes
    numbers = random_parameters(shape(), trace.header.router, trace.tokens, SEED, types.weights, types.lm_head)
    program = compile_trace(trace, overlay, board)
    found = run_functional(program, build_image(program, numbers))
    return Case(overlay, board, numbers, program, FunctionalRun(trace, found.logits))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_in_lock_step(name: str) -> None:
    found = cosimulate(case(name), rtl=rtl())
    assert found.differences == ()
    assert found.cycles == found.model_cycles


def test_an_image_that_is_seen_changes_what_follows() -> None:
    """The same text after another image gives other logits: rows and keys really are where they are looked for."""
    first = case("hidrop").numerics.logits
    overlay, board = Overlay.load("tiny"), Board.load("u280")
    whole = case("hidrop").program.context.trace
    ids = whole.arrays["token_ids"].copy()
    ids[3:13] = (ids[3:13] + 1) % VOCABULARY
    other = Trace(whole.header, whole.steps, {**whole.arrays, "token_ids": ids}, whole.events)
    types = overlay.datatypes
    numbers = random_parameters(shape(), whole.header.router, whole.tokens, SEED, types.weights, types.lm_head)
    program = compile_trace(other, overlay, board)
    assert np.any(run_functional(program, build_image(program, numbers)).logits != first)
