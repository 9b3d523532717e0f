"""GPT-2 and OPT: LayerNorm, GELU or ReLU, biases and learned positions, from the shape to the last cycle."""

from typing import Any

import numpy as np
import pytest
from expected_counts import differences
from hypothesis import given, settings
from hypothesis import strategies as st
from small_machine import BOARD, TINY, failed, shape, skipping

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import COLUMN, Opcode, Post, decode
from skipopu.program.macs import macs
from skipopu.sim.reference import simulate
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Phase
from skipopu.spec.overlay import Overlay

GPT2 = {"norm": "layer", "activation": "gelu", "linear_bias": True, "learned_positions": 64}
OPT = GPT2 | {"activation": "relu"}
UNITS = Overlay.load("tiny", ("npe.layer_norm=true", "npe.gelu=true"))


def column(words: np.ndarray, name: str) -> np.ndarray:
    return decode(words)[:, COLUMN[name]]


@settings(max_examples=10)
@given(
    values=st.sampled_from([GPT2, OPT, {"norm": "layer"}, {"activation": "gelu"}, {"linear_bias": True}]),
    fused=st.booleans(),
)
def test_every_variant_runs_with_a_clean_audit(values: dict[str, Any], fused: bool) -> None:
    overlay = Overlay.load("tiny", ("npe.layer_norm=true", "npe.gelu=true", f"dataflow.fused={str(fused).lower()}"))
    trace = skipping(shape(**values), 10, 3, 0.3)
    program = compile_trace(trace, overlay, BOARD)
    run = simulate(program, overlay, BOARD)
    assert failed(run, trace, overlay) == []
    assert differences(program, overlay, run) == []


@pytest.mark.parametrize(("values", "post"), [(GPT2, Post.GELU), (OPT, Post.RELU), ({}, Post.SWIGLU)])
def test_the_activation_is_applied_to_the_up_projection_alone(values: dict[str, Any], post: Post) -> None:
    """Tiny model, hidden 64, intermediate 128: the up projection has twice the columns with a gate."""
    program = compile_trace(skipping(shape(**values), 8, 2, 0.0), UNITS, BOARD)
    posts, columns = column(program.words, "post"), column(program.words, "columns")
    applied = posts == post
    assert set(posts) <= {Post.NONE, Post.ROPE, Post.RESIDUAL, post}
    assert set(columns[applied]) == {256 if post == Post.SWIGLU else 128}


def test_learned_positions_leave_nothing_to_rotate() -> None:
    program = compile_trace(skipping(shape(**OPT), 8, 2, 0.0), UNITS, BOARD)
    f = decode(program.words)
    rotary = (f[:, 0] == Opcode.LOAD_CONSTANTS) & (f[:, COLUMN["value"]] == 1)
    assert not rotary.any()
    assert not (f[:, COLUMN["post"]] == Post.ROPE).any()


def test_learned_positions_need_a_row_a_token() -> None:
    """The host adds token and position: every token of the sequence is loaded from a place of its own.

    Prefill loads blocks of the rows that the host gathered, decode the row of its token.
    """
    program = compile_trace(skipping(shape(**OPT), 17, 3, 0.0), UNITS, BOARD)
    f, first, memory = decode(program.words), program.tags[:, 2], program.context.memory
    address, passes = f[:, COLUMN["address"]] * 64, program.context.passes
    for region, wanted in (("prompt", passes.first[~passes.decode]), ("embedding", passes.first[passes.decode])):
        end = min(place for place in memory.ddr.values() if place > memory.ddr[region])
        loads = (f[:, 0] == Opcode.LOAD_ROWS) & (address >= memory.ddr[region]) & (address < end)
        assert np.array_equal(first[loads], wanted)
        assert np.array_equal(address[loads], memory.ddr[region] + wanted * memory.strides.row)


@pytest.mark.parametrize(("values", "names"), [({}, 0), ({"qkv_bias": True}, 3), (GPT2, 6)])
def test_matrices_with_biases_say_so(values: dict[str, Any], names: int) -> None:
    """Nothing is skipped and every matrix fits one part: a product a matrix, row block and layer, LM head apart."""
    program = compile_trace(skipping(shape(layers=1, **values), 4, 0, 0.0), UNITS, BOARD)
    f = decode(program.words)
    products = (f[:, 0] == Opcode.MATMUL) & (program.tags[:, 1] >= 0)
    assert products.sum() == 6
    assert f[products, COLUMN["bias"]].sum() == names
    assert f[~products, COLUMN["bias"]].sum() == 0


def test_without_a_gate_the_ffn_has_two_matrices() -> None:
    gated, plain = (skipping(shape(**values), 6, 2, 0.0) for values in ({}, {"activation": "relu"}))
    difference = macs(gated) - macs(plain)
    assert difference[Phase.PREFILL] == 6 * 2 * 64 * 128
    assert difference[Phase.DECODE] == 2 * 2 * 64 * 128


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"norm": "layer"}, "npe.layer_norm = false; shape small has norm = layer; --set npe.layer_norm=true"),
        ({"activation": "gelu"}, "npe.gelu = false; shape small has activation = gelu; --set npe.gelu=true"),
        ({"learned_positions": 9}, "12 positions; shape small has learned_positions = 9"),
    ],
)
def test_what_the_overlay_has_no_unit_for_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace(".", r"\.")):
        compile_trace(skipping(shape(**values), 8, 4, 0.2), TINY, BOARD)
