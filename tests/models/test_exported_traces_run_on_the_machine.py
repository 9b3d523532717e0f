"""What running PyTorch models export, family by family, compiles and runs on the tiny overlay without contradiction."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from machine_traces import CASES
from routed_models import exported

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import COLUMN, Opcode, decode
from skipopu.program.macs import macs
from skipopu.program.program import Program
from skipopu.results.audit import audit
from skipopu.sim.reference import simulate
from skipopu.sim.work import resolve_work
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Part
from skipopu.spec.overlay import Overlay
from skipopu.trace import ScoreOp, Trace, dense_like
from skipopu.trace.family import families
from skipopu.trace.gemms import Gemm, gemms, total_macs
from skipopu.trace.knobs import preset, presets

UNITS = ("bitmask.lists=16", "bitmask.rows=64", "bitmask.tokens=1024", "npe.gelu=true", "npe.layer_norm=true")
TINY, BOARD = Overlay.load("tiny", UNITS), Board.load("u280")
# schedules of a dense decoder: other steps, no model of their own
SCHEDULES = {"rollouts", "teacher_scoring", "latent_reasoning"}
# they run every row that a dense decoder runs
WHOLE = {"dense", "llava", "layer_fusion", "wait_k", "decision_head", "streaming_thinker", "tays"}
DOT = TINY.pe_array.dot_length
PARTS = (Part.PROJECTIONS, Part.OUTPUT, Part.FFN)
# attention is counted in keys; routers and joints have parts of their own
ELSEWHERE = ("scores", "values", "score", "attention_router", "ffn_router", "fuse_in", "fuse_out")
At = Counter[tuple[int, int]]  # of a step and a layer


def family_of(case: str) -> str:
    return case.split()[0]


def whole_family(name: str) -> str:
    """The family whose operating point ``name`` is, or itself."""
    return preset(name)[0] if name in presets() else name


@pytest.mark.parametrize("name", sorted({whole_family(name) for name in families()} - SCHEDULES))
def test_every_family_has_a_model_whose_trace_is_run(name: str) -> None:
    assert name in map(family_of, CASES)


@pytest.mark.parametrize("case", CASES)
def test_what_a_model_exports_runs(case: str) -> None:
    trace = CASES[case]()
    assert trace.header.family == family_of(case)
    run = simulate(compile_trace(trace, TINY, BOARD), TINY, BOARD)
    assert [check for check in audit(run, trace, TINY) if not check.passed] == []
    assert macs(trace).sum() == total_macs(gemms(trace))


def tiles(n: int) -> int:
    """Elements of the row tiles that ``n`` elements take."""
    return -(-n // DOT) * DOT


def stored(product: Gemm, head_dim: int) -> int:
    """Multiply-accumulates of a product in the array: a head and a row are whole tiles, 2:4 streams its zeros."""
    name = product.name.removeprefix("score_").split("_")
    heads = Fraction(TINY.head_storage(head_dim), head_dim)
    n, k = product.n, product.k * (2 if "2:4" in product.note else 1)
    n = int(n * heads) if name[0] in "qkv" and name[-1] != "in" else tiles(n)
    k = int(k * heads) if name[0] == "o" and name[-1] != "out" else tiles(k)
    if name[-2:] == ["approximation", "in"]:
        n *= 2  # SwiGLU with a column of ones beside each
    return product.m * n * k


def wanted(trace: Trace) -> At:
    """Multiply-accumulates of projections and FFN as the array has them."""
    found, d = At(), trace.header.shape.dimensions
    for g in gemms(trace):
        if g.layer >= 0 and g.name not in ELSEWHERE:
            found[g.step, g.layer] += stored(g, d.head_dim)
    for event in trace.events:
        if event.op is ScoreOp.INFLUENCE:  # V of the weighed tokens once more, beside the cache
            value = Gemm(event.step, event.layer, "v", event.keys, d.kv_heads * d.head_dim, d.hidden_size)
            found[event.step, event.layer] += stored(value, d.head_dim)
    return found


def multiplied(program: Program) -> At:
    """Multiply-accumulates of the instructions, for the rows that they run."""
    work, fields, found = resolve_work(program, TINY), decode(program.words), At()
    own = (fields[:, 0] == Opcode.MATMUL) & (program.tags[:, 1] >= 0) & np.isin(program.parts, PARTS)
    for i in np.flatnonzero(own).tolist():
        step, layer = program.tags[i, :2].tolist()
        found[step, layer] += int(work[i].rows * work[i].depth * DOT * fields[i, COLUMN["columns"]])
    return +found


@pytest.mark.parametrize("case", CASES)
def test_every_product_of_the_model_is_in_the_program(case: str) -> None:
    """Projections and FFN of every step and layer, no more and no less; scores and values wherever a query runs."""
    trace = CASES[case]()
    program = compile_trace(trace, TINY, BOARD)
    assert multiplied(program) == wanted(trace)
    work, opcode = resolve_work(program, TINY), decode(program.words)[:, 0]
    for attends in (Opcode.SCORES, Opcode.CONTEXT):
        at = (opcode == attends) & (work.rows > 0)
        attended = set(zip(program.tags[at, 0].tolist(), program.tags[at, 1].tolist(), strict=True))
        asking = {(g.step, g.layer) for g in gemms(trace) if g.name == "scores"}
        assert asking <= attended


@pytest.mark.parametrize("case", [case for case in CASES if family_of(case) not in WHOLE])
def test_it_leaves_something_out(case: str) -> None:
    """Otherwise its running would show nothing."""
    trace = CASES[case]()
    assert total_macs(gemms(trace)) < total_macs(gemms(dense_like(trace)))


def test_a_third_state_of_a_router_with_two_logits_is_refused() -> None:
    """LFF as published has two; what leaves rows without either module is ours, in the model alone."""
    with pytest.raises(SpecError, match=r"run neither .* nor its stand-in; .* a model without drop_margin"):
        compile_trace(exported("lff_drops")[1], TINY, BOARD)
