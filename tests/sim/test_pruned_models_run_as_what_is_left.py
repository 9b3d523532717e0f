"""A model cut in width takes the very cycles of the small one; a low-rank one streams and computes its factors."""

from fractions import Fraction

import numpy as np
import pytest
from family_traces import family_trace
from hand_made import cycles, hand_made, matmul
from hypothesis import given, settings
from hypothesis import strategies as st
from pruned_models import NAMES, cut, dense, factor_bytes, model, pruned, streamed
from small_machine import BOARD, TINY, failed

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Post
from skipopu.sim.reference import simulate
from skipopu.sim.run import Run
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import Overlay
from skipopu.trace import LayerShape, Trace, make_trace
from skipopu.trace.gemms import gemms, total_macs

LONG = Overlay.load("tiny", ("bitmask.rows=64", "bitmask.tokens=1024"))
ROW_WISE = Overlay.load("tiny", ("dataflow.fused=false",))
OVERLAYS = pytest.mark.parametrize("overlay", [TINY, ROW_WISE], ids=["fused", "row_wise"])


def run(trace: Trace, overlay: Overlay = TINY) -> Run:
    """Simulate; the audit and the count of multiplications hold for whatever was pruned."""
    found = simulate(compile_trace(trace, overlay, BOARD), overlay, BOARD)
    assert failed(found, trace, overlay) == []
    assert found.macs.sum() == total_macs(gemms(trace))
    return found


def alike(one: Run, other: Run) -> bool:
    """Every cycle of every block and every byte, whatever the traces are called."""
    tables = [np.array_equal(getattr(one, name), getattr(other, name)) for name in ("ledger", "traffic", "step_end")]
    return all(tables) and one.core_cycles == other.core_cycles and one.kv == other.kv


CUTS = {
    "width": (0.5, {"attention_heads": 4, "kv_heads": 2, "intermediate_size": 64}),
    "hidden": (0.3, {"hidden_size": 45}),
}


@OVERLAYS
@pytest.mark.parametrize("kind", CUTS)
def test_a_cut_model_runs_in_the_cycles_of_the_small_one(kind: str, overlay: Overlay) -> None:
    sparsity, sizes = CUTS[kind]
    mine, small = run(pruned(kind, sparsity), overlay), run(dense(model(**sizes)), overlay)
    assert alike(mine, small)
    assert mine.macs.sum() == small.macs.sum()
    assert mine.core_cycles < run(dense(model()), overlay).core_cycles


def test_two_of_four_runs_in_the_cycles_of_the_dense_model() -> None:
    """There is no sparse path: the zeros are streamed and multiplied, and only what is useful counts."""
    mine, whole = run(pruned("2:4", 0.5)), run(dense(model()))
    assert alike(mine, whole)
    assert mine.macs.sum() < whole.macs.sum()


def small_low_rank(ranks: tuple[int, ...]) -> Trace:
    return cut(dense(model(), 4, 1), *(LayerShape(n, ranks=ranks) for n in range(3)))


@OVERLAYS
@settings(max_examples=5)
@given(ranks=st.tuples(*[st.integers(1, 90)] * 7))
def test_bytes_of_low_rank_weights_are_those_of_the_factors(overlay: Overlay, ranks: tuple[int, ...]) -> None:
    """Once for the prompt, which is one row block, and once for the token behind it, with an LM head each."""
    found = run(small_low_rank(ranks), overlay)
    layer = factor_bytes(model(), dict(zip(NAMES, ranks, strict=True)), overlay)
    head = streamed(model().dimensions.vocabulary, model().dimensions.hidden_size, overlay)
    assert found.traffic[:, Traffic.WEIGHTS].tolist() == [3 * layer + head] * 2


@settings(max_examples=8)
@given(
    kind=st.sampled_from(["depth", "block", "width", "hidden", "low_rank", "2:4"]), sparsity=st.integers(0, 80),
    decode_tokens=st.integers(0, 2),
)  # fmt: skip
def test_any_kind_and_sparsity_runs_or_names_what_it_needs(kind: str, sparsity: int, decode_tokens: int) -> None:
    share = Fraction(1, 2) if kind == "2:4" else Fraction(sparsity, 100)
    trace = pruned(kind, share, prompt=4, decode=decode_tokens)
    if kind == "width" and int(4 * share) % 2:  # K/V heads that go, of four
        with pytest.raises(SpecError, match=r"two heads are packed: must be even; nearest sparsity: "):
            run(trace)
    else:
        run(trace)


def test_layers_may_differ_in_ffn_width_and_rank_and_lack_modules() -> None:
    """The last layer lacks its FFN and is low-rank, the one before has half of the channels."""
    of = pruned("depth", 0, prompt=4, decode=1)
    ffn = of.rows("ffn").copy()
    ffn[2] = False
    trace = make_trace(of.header, of.steps, q=of.rows("q"), kv=of.rows("kv"), ffn=ffn)
    trace = cut(trace, LayerShape(1, intermediate_size=64), LayerShape(2, intermediate_size=0, rank=24))
    found, whole, d = run(trace), factor_bytes(model(), {}, TINY), model().dimensions
    half = factor_bytes(model(intermediate_size=64), {}, TINY)
    inner = 3 * streamed(d.intermediate_size, d.hidden_size, TINY)
    ranked = factor_bytes(model(), dict.fromkeys(("q", "k", "v", "o"), 24), TINY) - inner
    head = streamed(d.vocabulary, d.hidden_size, TINY)
    assert found.traffic[:, Traffic.WEIGHTS].tolist() == [whole + half + ranked + head] * 2


@pytest.mark.parametrize(("post", "met"), [(Post.PRODUCT, 1), (Post.RESIDUAL, 1), (Post.NONE, 0)])
def test_a_gate_takes_the_read_port_that_a_residual_takes(post: Post, met: int) -> None:
    """Every row tile of the operand is read once a column block; each word of results meets one of the gate's tiles."""
    overlay = Overlay.load("tiny", ("dma.hbm_ports=8", "dma.weight_chunks=512"))
    product = matmul(overlay, 8, 4, 64, post=int(post))
    blocks = 64 // overlay.pe_array.columns
    reads = sum(int(m.buffer.reads) for m in cycles(hand_made(product, overlay), overlay))
    assert reads == 8 * 4 * blocks + met * 8 * blocks


def test_a_lost_factor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: gate and up stay one matrix, so that the machine would stream more than the factors."""
    monkeypatch.setattr("skipopu.program.factors.rank_of", lambda widths, name: 0)
    found = simulate(compile_trace(small_low_rank((8,) * 7), TINY, BOARD), TINY, BOARD)
    assert found.traffic[0, Traffic.WEIGHTS] > 3 * factor_bytes(model(), dict.fromkeys(NAMES, 8), TINY)


OTHERS = ("llava", "hidrop", "visipruner", "wait_k", "rollouts")  # rows of all kinds, score operations, several caches


@pytest.mark.parametrize("shape", [{"rank": 8}, {"hidden_size": 24}, {"intermediate_size": 16}], ids=" ".join)
@pytest.mark.parametrize("name", OTHERS)
def test_any_family_may_be_pruned_as_well(name: str, shape: dict[str, int]) -> None:
    trace = family_trace(name)
    trace = cut(trace, *(LayerShape(layer, **shape) for layer in range(trace.layers)))
    found = simulate(compile_trace(trace, LONG, BOARD), LONG, BOARD)
    assert failed(found, trace, LONG) == []
    assert found.macs.sum() == total_macs(gemms(trace))
