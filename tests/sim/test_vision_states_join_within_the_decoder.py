"""Fusion: before the decoder it is no work of the machine; within, states are read and added, or weights streamed."""

import numpy as np
import pytest
from family_traces import IMAGE, shape
from ordering import accesses, rows_of, unordered
from small_programs import shape as wide_shape

from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.program.isa import Opcode
from skipopu.program.macs import macs
from skipopu.program.program import Program
from skipopu.program.random_parameters import random_parameters
from skipopu.results.audit import audit
from skipopu.sim.reference import simulate
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Traffic
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Event, EventKind, Trace
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs

TINY, BOARD = Overlay.load("tiny", ("npe.gelu=true", "bitmask.rows=64", "bitmask.tokens=1024")), Board.load("u280")
HIDDEN, VISUAL, FP16 = 32, 12, 2


def fusing(*layers: int, modular: bool = False, model: ModelShape | None = None) -> Trace:
    """States of a vision layer join at each of ``layers``; with none, three of them before the decoder."""
    vision = ",".join(str(n + 1) for n in range(len(layers) or 3))
    within = ("placement=internal", f"decoder_layers={','.join(map(str, layers))}") if layers else ()
    knobs = (*IMAGE, f"vision_layers={vision}", *within, f"modular={str(modular).lower()}")
    return generate("layer_fusion", model or shape(), 6, 1, seed=1, knobs=knobs)


def compiled(trace: Trace) -> Program:
    return compile_trace(trace, TINY, BOARD)


def traffic(trace: Trace) -> np.ndarray:
    """Bytes by kind, of a run that contradicts nothing."""
    found = simulate(compiled(trace), TINY, BOARD)
    assert [check for check in audit(found, trace, TINY) if not check.passed] == []
    return np.asarray(found.traffic.sum(axis=0))


def visual_blocks(trace: Trace) -> int:
    """Row blocks of the image; no other row is in them."""
    passes, found = compiled(trace).context.passes, 0
    for first, rows in zip(passes.first, passes.rows, strict=True):
        inside = (passes.tokens[first : first + rows] >= 3) & (passes.tokens[first : first + rows] < 3 + VISUAL)
        assert inside.all() or not inside.any()
        found += bool(inside.all())
    return found


def test_before_the_decoder_nothing_is_left_to_do() -> None:
    trace = fusing()
    plain = Trace(trace.header, trace.steps, trace.arrays, ())
    assert trace.events
    assert compiled(trace).words.tobytes() == compiled(plain).words.tobytes()


@pytest.mark.parametrize("modular", [False, True])
def test_each_joint_reads_states_and_x_and_writes_x(modular: bool) -> None:
    """Of visual rows alone: the same blocks with one joint and with three."""
    one, three = (traffic(fusing(*layers, modular=modular)) for layers in ((2,), (2, 5, 9)))
    row, more = HIDDEN * FP16, three - one
    assert more[Traffic.ACTIVATIONS_READ] == 2 * 2 * VISUAL * row
    assert more[Traffic.ACTIVATIONS_WRITE] == 2 * VISUAL * row
    assert more[Traffic.KV_READ] == more[Traffic.KV_WRITE] == 0


def test_a_module_streams_its_two_matrices_for_every_block() -> None:
    """2D → D → D in INT4, two values a byte, and two bytes a column of scales and of biases."""
    one, two = (traffic(fusing(*layers, modular=True)) for layers in ((2,), (2, 5)))
    blocks, more = visual_blocks(fusing(2, modular=True)), two - one
    assert more[Traffic.WEIGHTS] == blocks * (2 * HIDDEN + HIDDEN) * HIDDEN // 2
    scales = 2 * HIDDEN * (FP16 + FP16)
    assert scales <= more[Traffic.CONSTANTS] // blocks <= scales + 2 * 128  # whole words of both channels
    assert more[Traffic.CONSTANTS] % blocks == 0


def test_adding_streams_an_identity_as_wide_as_a_tile() -> None:
    """Tiles are wider than the tiny array: one at a time, 16 × 16 values of INT4."""
    one, two = (traffic(fusing(*layers)) for layers in ((2,), (2, 5)))
    more = two - one
    assert more[Traffic.WEIGHTS] == visual_blocks(fusing(2)) * (HIDDEN // 16) * 16 * 16 // 2
    assert more[Traffic.CONSTANTS] == 0


def test_multiplications_are_those_of_the_products() -> None:
    traces = [fusing(), fusing(2, 5), fusing(modular=True), fusing(0, 5, modular=True)]
    for trace in traces:
        assert macs(trace).sum() == total_macs(gemms(trace))
    assert macs(traces[3]).sum() - macs(traces[1]).sum() == 2 * VISUAL * 3 * HIDDEN * HIDDEN


@pytest.mark.parametrize("modular", [False, True])
def test_joints_come_between_embeddings_and_the_projections_of_their_layer(modular: bool) -> None:
    program = compiled(fusing(0, 5, modular=modular))
    start, rows = program.context.memory.ddr["states"] // 64, rows_of(program)
    for layer in (0, 5):
        here = [i for i in range(len(rows)) if program.tags[i, 1] == layer]
        joined = [i for i in here if rows[i]["opcode"] == Opcode.LOAD_ROWS and rows[i]["address"] >= start]
        assert len(joined) == visual_blocks(fusing(0))
        assert max(joined) < min(i for i in here if rows[i]["opcode"] == Opcode.APPEND_KV)
    assert unordered(rows, accesses(program)) == set()


def wrong_rows() -> Trace:
    trace = fusing(2)
    return Trace(trace.header, trace.steps, trace.arrays, (Event(EventKind.FUSE, 0, layer=2, rows=5, k=1, outcome=0),))


def test_what_cannot_join_is_refused() -> None:
    with pytest.raises(SpecError, match=r"rows = 5 in layer 2, which 12 visual tokens .* takes all 12"):
        compiled(wrong_rows())
    with pytest.raises(SpecError, match=r"npe.gelu = false; event fuse at step 0 by way of GELU; --set npe.gelu"):
        compile_trace(fusing(2, modular=True), Overlay.load("tiny"), BOARD)
    wide, small = wide_shape(hidden_size=96), Overlay.load("tiny", ("npe.gelu=true", "constants.half_bytes=256"))
    with pytest.raises(SpecError, match=r"constants.half_bytes = 256; .* need 384; nearest: 384"):
        compile_trace(fusing(2, modular=True, model=wide), small, BOARD)


def test_only_the_simulator_joins_within_the_decoder() -> None:
    trace, types = fusing(2), TINY.datatypes
    numbers = random_parameters(shape(), trace.header.router, trace.tokens, 1, types.weights, types.lm_head)
    with pytest.raises(SpecError, match="vision states that join within the decoder: in the simulator only"):
        build_image(compiled(trace), numbers)
    build_image(compiled(fusing()), numbers)
