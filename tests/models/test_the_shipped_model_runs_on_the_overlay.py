"""The first layers of the shipped checkpoint, quantised: the program computes what the model's numerics say."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from skipopu.models.checkpoint import open_checkpoint
from skipopu.models.overlay_parameters import header_of, overlay_parameters
from skipopu.models.quantization import first_layers, quantise
from skipopu.program.compiler import compile_trace
from skipopu.program.constant_element import with_constant_element
from skipopu.program.image import build_image
from skipopu.program.numerical_run import NumericalRun, run_numerics
from skipopu.program.parameters import ModelParameters
from skipopu.sim.functional.machine import run
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

LAYERS, PROMPT, DECODE = 2, 16, 8
NAME, SOURCE = "skipgpt-bytes", "checkpoint skipgpt-bytes, its first 2 layers"


@cache
def numbers() -> ModelParameters:
    model = first_layers(open_checkpoint(NAME).model, LAYERS)
    return with_constant_element(overlay_parameters(quantise(model, "rtn"), PROMPT + DECODE, name=NAME, source=SOURCE))


@cache
def numerics(overlay: str) -> NumericalRun:
    model = first_layers(open_checkpoint(NAME).model, LAYERS)
    header = replace(header_of(model, name=NAME, source=SOURCE), shape=numbers().shape)
    prompt = list(Path(__file__).read_bytes()[:PROMPT])
    return run_numerics(numbers(), header, Overlay.load(overlay), Board.load("u280"), prompt, DECODE)


@pytest.mark.parametrize("overlay", ["tiny", pytest.param("skipopu-u280", marks=pytest.mark.slow)])
def test_every_logit_of_the_program_is_that_of_the_numerics(overlay: str) -> None:
    trace = numerics(overlay).trace
    program = compile_trace(trace, Overlay.load(overlay), Board.load("u280"))
    outcome = run(program, build_image(program, numbers()))
    assert outcome.logits.shape == (1 + DECODE, 256)
    assert np.array_equal(outcome.logits, numerics(overlay).logits)


def test_some_modules_are_skipped() -> None:
    trace = numerics("tiny").trace
    assert trace.rows("q")[0].all()
    assert not trace.rows("ffn").all()
    assert trace.header.provenance.kind == "trained-tiny"
