"""A model cut in width is compiled as the small model that it is; a low-rank one streams factors and no zeros."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ordering import Row, accesses, execute, rows_of, unordered
from pruned_models import NAMES, cut, dense, factor_bytes, model, pruned
from small_programs import program, tiny

from skipopu.program.image import build_image
from skipopu.program.isa import ADDRESS_UNIT, Opcode, Post
from skipopu.program.macs import macs
from skipopu.program.program import Program, validate_program
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.error import SpecError
from skipopu.trace import LayerShape, Router, Trace, synthesize
from skipopu.trace.gemms import gemms, total_macs

ROW_WISE = "dataflow.fused=false"
SMALL_CONSTANTS = "constants.half_bytes=256"


def same(one: Program, other: Program) -> bool:
    return one.words.tobytes() == other.words.tobytes() and one.context.memory == other.context.memory


@settings(max_examples=15)
@given(dropped=st.integers(0, 60), kv_heads=st.sampled_from([2, 4, 6]))
def test_a_cut_hidden_size_gives_the_program_of_the_small_model(dropped: int, kv_heads: int) -> None:
    whole = model(attention_heads=2 * kv_heads, kv_heads=kv_heads)
    left = 64 - dropped
    trace = pruned("hidden", Fraction(dropped, 64), whole)
    if left < 8:
        with pytest.raises(SpecError, match=f"layers have hidden_size = {left}; valid: at least 8"):
            program(trace)
        return
    small = model(attention_heads=2 * kv_heads, kv_heads=kv_heads, hidden_size=left)
    assert same(program(trace), program(dense(small)))


@settings(max_examples=10)
@given(dropped=st.integers(0, 3))
def test_cut_heads_and_channels_give_the_program_of_the_small_model(dropped: int) -> None:
    """Of eight K/V heads with a query each pairs go, and with them as large a share of the channels."""
    whole = model(kv_heads=8)
    small = model(kv_heads=8 - 2 * dropped, attention_heads=8 - 2 * dropped, intermediate_size=128 - 32 * dropped)
    assert same(program(pruned("width", Fraction(dropped, 4), whole)), program(dense(small)))


def test_two_of_four_is_streamed_whole_and_counted_half() -> None:
    trace = pruned("2:4", 0.5)
    assert same(program(trace), program(dense(model())))
    projections = [f for f in gemms(trace) if f.name in NAMES]
    assert all("2:4" in f.note for f in projections)
    assert macs(trace).sum() == total_macs(gemms(trace)) < macs(dense(model())).sum()


@given(kind=st.sampled_from(["depth", "block", "width", "hidden", "low_rank"]), sparsity=st.integers(0, 60))
def test_multiplications_are_those_of_the_products(kind: str, sparsity: int) -> None:
    trace = pruned(kind, Fraction(sparsity, 100))
    assert macs(trace).sum() == total_macs(gemms(trace))


def weights(p: Program) -> int:
    """Bytes of weights of a layer in one pass, the last step's."""
    step, layer, _ = p.tags[:-1].T
    mine = (layer == 0) & (step == len(p.context.trace.steps) - 1)
    loads = [row for row, own in zip(rows_of(p), mine, strict=True) if own and row["opcode"] == Opcode.LOAD_WEIGHTS]
    return sum(row["columns"] for row in loads) * p.context.overlay.hbm_bytes_per_cycle


@settings(max_examples=15)
@given(ranks=st.tuples(*[st.integers(1, 200)] * 7))
def test_low_rank_weights_are_streamed_as_their_factors(ranks: tuple[int, ...]) -> None:
    trace = cut(dense(model(), 3, 1), *(LayerShape(n, ranks=ranks) for n in range(3)))
    p = program(trace)
    assert weights(p) == factor_bytes(model(), dict(zip(NAMES, ranks, strict=True)), tiny())
    assert macs(trace).sum() == total_macs(gemms(trace))


def test_a_low_rank_layer_among_whole_ones_keeps_to_itself() -> None:
    p = program(cut(dense(model()), LayerShape(1, rank=16), LayerShape(2, intermediate_size=64)))
    plain = program(dense(model())).context.memory.matrices
    mine = p.context.memory.matrices
    assert (0, "gate_up") in mine
    assert {name for layer, name in mine if layer == 1} == {f"{name}_{end}" for name in NAMES for end in ("in", "out")}
    assert mine[0, "gate_up"].columns == plain[0, "gate_up"].columns == 2 * mine[2, "gate_up"].columns
    assert p.context.tiles.ffn == 128 // tiny().pe_array.dot_length


LOW_RANK: dict[str, tuple[Callable[[], Trace], tuple[str, ...]]] = {
    "fused": (lambda: pruned("low_rank", 0.4), ()),
    "row_wise": (lambda: pruned("low_rank", 0.4), (ROW_WISE,)),
    "parts": (lambda: pruned("low_rank", 0.1, model(qkv_bias=True)), (SMALL_CONSTANTS,)),
    "relu": (
        lambda: pruned("low_rank", 0.4, model(activation="relu", linear_bias=True)), (SMALL_CONSTANTS,),
    ),
    "ranks_apart": (lambda: cut(dense(model()), LayerShape(1, ranks=(8, 20, 40, 8, 70, 90, 8))), ()),
}  # fmt: skip


def low_rank(name: str) -> Program:
    made, overlay = LOW_RANK[name]
    return program(made(), *overlay)


@pytest.mark.parametrize("name", LOW_RANK)
def test_every_hazard_between_factors_is_ordered(name: str) -> None:
    p = low_rank(name)
    rows, touched = rows_of(p), accesses(p)
    validate_program(p.words, p.context.overlay, simulated=True)
    assert unordered(rows, touched) == set()
    assert not any(execute(rows, 0, 2).left.values())
    tiles = [a for a in touched if a.space == "tiles"]
    assert max(a.end for a in tiles) <= p.context.overlay.global_buffer.tiles
    products = [i for i, row in enumerate(rows) if row["opcode"] == Opcode.MATMUL]
    chained = {(a, b) for a, b in pairwise(products) if rows[b]["source"] == rows[a]["target"]}
    assert chained & unordered([row | {"fence": 0} for row in rows], touched)


def last_step(p: Program) -> Iterator[tuple[str, Row]]:
    """Yield what layer 1 does with a token: products by their matrix, found by its place in HBM, others by opcode."""
    step, layer, _ = p.tags[:-1].T
    mine, matrix = (layer == 1) & (step == step[-1]), ""
    starts = {m.offset // ADDRESS_UNIT: name for (at, name), m in p.context.memory.matrices.items() if at == 1}
    for row, own in zip(rows_of(p), mine, strict=True):
        if own and row["opcode"] == Opcode.LOAD_WEIGHTS:
            matrix = starts.get(row["address"], "")  # none where another part of it follows
        elif own and (row["opcode"] != Opcode.MATMUL or matrix):
            yield matrix if row["opcode"] == Opcode.MATMUL else Opcode(row["opcode"]).name.lower(), row


def check_flow(p: Program) -> None:
    """Every product takes what the one before left: the places between which each leads, followed from X to X."""
    did = dict(last_step(p))
    appended = [row["source"] for name, row in last_step(p) if name == "append_kv"]
    for name in (name.removesuffix("_in") for name in did if name.endswith("_in")):
        assert did[f"{name}_out"]["source"] == did[f"{name}_in"]["target"]
        assert did[f"{name}_in"]["post"] == did[f"{name}_in"]["bias"] == 0
    x = did["o_out"]["target"]
    starts = {did[f"{name}_in"]["source"] for name in ("k", "v", "q", "up") if did[f"{name}_in"]["normalize"]}
    assert starts <= {x}
    assert did["o_out"]["operand"] == did["down_out"]["target"] == did["down_out"]["operand"] == x
    assert did["scores"]["source"] == did["q_out"]["target"]
    assert did["o_in"]["source"] == did["context"]["target"]
    assert appended == [did["k_out"]["target"], did["v_out"]["target"]]
    assert did["down_in"]["source"] == did["up_out"]["target"]
    assert (did["k_out"]["post"], did["v_out"]["post"], did["q_out"]["post"]) == (Post.ROPE, Post.NONE, Post.ROPE)
    if "gate_in" in did:  # up's rows meet the gate's where these lie, and replace them
        assert did["up_out"]["post"] == Post.PRODUCT
        assert did["up_out"]["operand"] == did["gate_out"]["target"] == did["up_out"]["target"]
        assert list(did).index("gate_out") < list(did).index("up_out")


@pytest.mark.parametrize("name", LOW_RANK)
def test_rows_go_from_factor_to_factor(name: str) -> None:
    check_flow(low_rank(name))


FAULTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "up does not meet the gate": ("inner_post", lambda shape, name: Post.NONE),
    "factors lead past the place between them": ("ends", lambda name, source, target: (source, target)),
    "a factor ends its projection": ("first_factor", lambda name: False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_leads_elsewhere(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(f"skipopu.program.products.{name}", wrong)
    with pytest.raises(AssertionError):
        check_flow(low_rank("fused"))


def test_a_cut_model_has_the_image_of_the_small_one() -> None:
    small = model(hidden_size=48)
    parameters = random_parameters(small, Router(), 11, 3, "int4", "int4")
    one, other = (
        build_image(program(trace), parameters) for trace in (pruned("hidden", 0.25), dense(small))
    )
    assert one.settings == other.settings
    for mine, theirs in zip((*one.hbm, *one.ddr.channels), (*other.hbm, *other.ddr.channels), strict=True):
        for address in range(0, 1 << 16, 4096):
            assert np.array_equal(mine.read(address, 4096), theirs.read(address, 4096))


def routed_low_rank() -> Trace:
    return cut(synthesize("skipgpt", model(), prompt=4, decode=1, skip=0.3, seed=1), LayerShape(0, rank=8))


def by_segment() -> Trace:
    return cut(dense(model()), LayerShape(0, "visual", intermediate_size=64))


REFUSED: list[tuple[Callable[[], Trace], str]] = [
    (
        lambda: pruned("width", 0.3),
        "shape small: kv_heads = 3; two heads are packed: must be even;"
        " nearest sparsity: 0 (4 heads) or 0.5 (2 heads) of 4",
    ),
    (
        lambda: pruned("width", 0.8),
        "shape small: kv_heads = 1; two heads are packed: must be even; nearest sparsity: 0.5 (2 heads) of 4",
    ),
    (
        lambda: cut(dense(model()), LayerShape(1, attention_heads=4, kv_heads=2)),
        "trace: layers have attention_heads/kv_heads = 4/2 and 8/4; the compiler takes one for all layers,"
        " which may differ in intermediate_size and ranks, and lack attention or FFN",
    ),
    (
        lambda: cut(dense(model()), LayerShape(1, hidden_size=32)),
        "trace: layers have hidden_size = 32 and 64; the compiler takes one for all layers,"
        " which may differ in intermediate_size and ranks, and lack attention or FFN",
    ),
    (
        by_segment,
        "trace: layer 0 has a shape of its own for segment visual; the compiler takes layer shapes of all tokens"
        " (segment = '')",
    ),
    (
        lambda: cut(dense(model()), LayerShape(2, intermediate_size=0)),
        "trace: layer 2 has a size of 0 and rows_ffn that run; expected none",
    ),
    (
        lambda: cut(synthesize("wide50", model(), prompt=4, decode=1, router_hidden=8), LayerShape(0, rank=8)),
        "trace: layer shapes and array 'head_groups'; the compiler takes one of them",
    ),
    (routed_low_rank, "trace: layer 0 has low-rank weights beside routers; the compiler takes one of them"),
]


@pytest.mark.parametrize(("of", "text"), REFUSED)
def test_what_is_not_carried_says_what_is(of: Callable[[], Trace], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        program(of())
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "trace", [pruned("low_rank", 0.4), cut(dense(model()), LayerShape(0, intermediate_size=32))], ids=["rank", "width"]
)
def test_what_the_functional_machine_lacks_has_no_image(trace: Trace) -> None:
    parameters = random_parameters(model(), Router(), 11, 0, "int4", "int4")
    with pytest.raises(SpecError) as caught:
        build_image(program(trace), parameters)
    assert str(caught.value) == "trace: low-rank weights, or FFNs of several widths: in the simulator only"
