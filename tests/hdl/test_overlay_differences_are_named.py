"""What is compared of the whole overlay: equal records show nothing, a changed value is named with cycle and place."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipopu.hdl.cosim.overlay_causes import CAUSE_BITS, Causes, ledger
from skipopu.hdl.cosim.overlay_difference import OverlayDifference, in_order
from skipopu.hdl.cosim.overlay_lockstep import different_cause, different_counters, different_retirement
from skipopu.hdl.cosim.overlay_model import Modelled, modelled
from skipopu.hdl.cosim.overlay_retired import COLUMNS, Ints, read_stream, table_of
from skipopu.hdl.retirement import RETIRED
from skipopu.program.compiler import compile_trace
from skipopu.program.program import Program
from skipopu.sim.reference import simulate
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block, Cause
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import synthesize

TINY, BOARD = Overlay.load("tiny"), Board.load("u280")
SIZES = {
    "layers": 1, "hidden_size": 32, "intermediate_size": 32, "attention_heads": 2, "kv_heads": 2, "head_dim": 16,
    "vocabulary": 20, "tied_embeddings": True, "qkv_bias": False, "qk_norm": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Program:
    shape = ModelShape.from_values("small", "a test", **SIZES)
    return compile_trace(synthesize("skipgpt", shape, 4, 1, skip=0.3, seed=1), TINY, BOARD)


@pytest.fixture(scope="module")
def model(program: Program) -> Modelled:
    return modelled(program, TINY, BOARD)


def stream_of(model: Modelled, seed: int) -> Ints:
    """The retire stream in another order, as payloads that are read back."""
    rows = np.random.default_rng(seed).permutation(table_of(model.run.retired))
    values = [RETIRED.const(dict(zip(COLUMNS, row.tolist(), strict=True))).as_bits() for row in rows]
    size = RETIRED.size // 8 + 1
    return read_stream(np.array([list(value.to_bytes(size, "little")) for value in values], np.uint8))


def test_the_recorder_changes_nothing_and_keeps_every_cycle(program: Program, model: Modelled) -> None:
    run = simulate(program, TINY, BOARD)
    assert (ledger(model.causes) == run.ledger.sum(axis=0)).all()
    assert len(model.causes) == run.core_cycles == model.run.core_cycles
    assert (table_of(model.run.retired) == table_of(run.retired)).all()


def test_equal_records_show_nothing(program: Program, model: Modelled) -> None:
    assert different_cause(model.causes, model.causes.copy()) is None
    assert different_retirement(model.run.retired, stream_of(model, 0), program.words) is None
    assert different_counters(model.run.ledger.sum(axis=0), ledger(model.causes), "the simulator") is None


@given(data=st.data())
def test_the_first_other_cause_is_named(model: Modelled, data: st.DataObject) -> None:
    cycles = st.integers(0, len(model.causes) - 1)
    places = data.draw(st.sets(st.tuples(cycles, st.sampled_from(Block)), min_size=1, max_size=4))
    rtl = model.causes.copy()
    for cycle, block in places:
        rtl[cycle] ^= np.uint32(1 << CAUSE_BITS * block)
    found = different_cause(model.causes, rtl)
    first = min(places)
    assert found is not None
    assert (found.cycle, found.where) == (first[0], f"block {first[1].label}, signal cause")
    assert found.model == Cause(int(model.causes[first[0]] >> CAUSE_BITS * first[1] & 15)).label


@pytest.mark.parametrize(("cut", "model_says", "rtl_says"), [(1, "runs", "ended"), (-1, "ended", "runs")])
def test_a_run_of_another_length_is_named(model: Modelled, cut: int, model_says: str, rtl_says: str) -> None:
    longer: Causes = np.append(model.causes, model.causes[-1:])
    ours, theirs = (model.causes, model.causes[:-1]) if cut == 1 else (model.causes, longer)
    found = different_cause(ours, theirs)
    expected = OverlayDifference(
        "cause", min(len(ours), len(theirs)), "all blocks, signal running", model_says, rtl_says
    )
    assert found == expected


@given(data=st.data())
def test_the_first_other_retirement_is_named(program: Program, model: Modelled, data: st.DataObject) -> None:
    """Of one instruction, one time is later by a few cycles."""
    index = data.draw(st.integers(0, len(program) - 1))
    signal = data.draw(st.sampled_from(("issue", "first", "last")))
    late = data.draw(st.integers(1, 1000))
    rtl = stream_of(model, data.draw(st.integers(0, 9)))
    row = int(np.flatnonzero(rtl[:, COLUMNS.index("index")] == index)[0])
    right = int(rtl[row, COLUMNS.index(signal)])
    rtl[row, COLUMNS.index(signal)] += late
    found = different_retirement(model.run.retired, rtl, program.words)
    assert found is not None
    assert (found.cycle, found.model, found.rtl) == (right, str(right), str(right + late))
    assert found.where.startswith(f"instruction {index} (")
    assert found.where.endswith(f"), {signal}")


def test_an_instruction_that_never_retires_is_named(program: Program, model: Modelled) -> None:
    rtl = stream_of(model, 1)
    found = different_retirement(model.run.retired, rtl[rtl[:, COLUMNS.index("index")] != 2], program.words)
    assert found is not None
    assert (found.cycle, found.rtl) == (int(model.run.retired.last[2]), "never retires")


def test_an_instruction_that_retires_twice_is_named(program: Program, model: Modelled) -> None:
    rtl = stream_of(model, 1)
    found = different_retirement(model.run.retired, np.concatenate([rtl, rtl[3:4]]), program.words)
    assert found is not None
    assert (found.model, found.rtl) == ("1", "2")
    assert "retirements" in found.where


def test_another_engine_is_named(program: Program, model: Modelled) -> None:
    retired = model.run.retired
    wrong = replace(retired, engine=np.where(np.arange(len(retired.engine)) == 5, Block.NPE, retired.engine))
    found = different_retirement(wrong, stream_of(model, 1), program.words)
    assert found is not None
    assert found.where.endswith("), engine")
    assert found.model == "npe"


def test_another_counter_is_named(model: Modelled) -> None:
    counters = ledger(model.causes)
    counters[Block.NPE, Cause.ROWS] += 1
    found = different_counters(model.run.ledger.sum(axis=0), counters, "the simulator")
    assert found is not None
    assert (found.kind, found.where) == ("counter", "npe rows, of the simulator")


def test_differences_come_in_the_order_of_time() -> None:
    late, early = (OverlayDifference("cause", cycle, "", "", "") for cycle in (9, 3))
    end = OverlayDifference("counter", None, "", "", "")
    assert in_order([late, None, end, early]) == (early, late, end)
    assert str(late) == "cycle 9, cause, : model , RTL "
