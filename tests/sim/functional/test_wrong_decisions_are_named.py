"""A program belongs to the decisions it was compiled for; the machine decides itself and says where they part."""

import re

import numpy as np
import pytest
from small_models import BOARD, Case, made

from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.sim.functional.machine import DecisionError, run
from skipopu.trace import Trace, make_trace

CASE = Case()


def changed(trace: Trace, kind: str, layer: int, token: int) -> Trace:
    rows = {name: trace.rows(name).copy() for name in ("q", "ffn")}  # type: ignore[arg-type]
    rows[kind][layer, token] ^= True
    return make_trace(
        trace.header, trace.steps, q=rows["q"], kv=rows["q"], ffn=rows["ffn"], token_ids=trace.token_ids
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "module"), [("q", "attention"), ("ffn", "ffn")])
@pytest.mark.parametrize(("layer", "token"), [(1, 0), (2, 12), (1, 14), (2, 16)])
def test_the_first_other_decision_is_named(kind: str, module: str, layer: int, token: int) -> None:
    found = made(CASE)
    trace = changed(found.program.context.trace, kind, layer, token)
    program = compile_trace(trace, CASE.overlay, BOARD)
    ran = bool(found.direct.ran[module][layer, token])
    words = ("skip", "execute")
    with pytest.raises(DecisionError) as caught:
        run(program, build_image(program, found.parameters))
    assert re.fullmatch(
        rf"instruction \d+: layer {layer}, {module} of token {token}: the router decides {words[ran]},"
        rf" the trace has {words[not ran]}; compile a trace of this model's own decisions",
        str(caught.value),
    )


def test_the_log_says_what_each_instruction_left() -> None:
    """The last word on every tile is what the buffer holds in the end."""
    found = made(CASE)
    outcome = run(found.program, build_image(found.program, found.parameters), log=True)
    last = np.zeros_like(outcome.state.buffer)
    order = [entry.instruction for entry in outcome.log]
    assert order == sorted(order)
    for entry in outcome.log:
        last[entry.tiles] = entry.data
    assert np.array_equal(last, outcome.state.buffer)
    assert len(outcome.log) > 200
