"""What a dataflow may change and what not: the same sums in the same order give the same bits."""

import numpy as np
import pytest
from small_models import Case, made, outcome

ROW_WISE = ("dataflow.fused=false",)
SINGLE = ("dataflow.packed_heads=1",)


@pytest.mark.parametrize("settings", [ROW_WISE, SINGLE, ROW_WISE + SINGLE], ids=["row_wise", "single", "both"])
@pytest.mark.parametrize("seed", [3, 4])
def test_fused_and_packed_change_no_bit(settings: tuple[str, ...], seed: int) -> None:
    """Where a round's scores of a head leave in one word, statistics take the same numbers together."""
    one, other = Case(seed=seed), Case(settings, seed=seed)
    assert made(one).program.words.tobytes() != made(other).program.words.tobytes() or settings == SINGLE
    assert np.array_equal(outcome(one).logits, outcome(other).logits)
    assert np.array_equal(outcome(one).attention, outcome(other).attention)


@pytest.mark.parametrize(
    "settings",
    [
        ("dma.weight_chunks=64",), ("constants.half_bytes=512",), ("ifm.rows=64",), ("pe_array.columns=16",),
        ("sequencer.queue_depth=8",), ("kv_buffer.capacity_bytes=65536", "kv_buffer.queue_depth=4"),
    ],
    ids=lambda names: names[0],
)  # fmt: skip
def test_sizes_that_order_no_sum_change_no_bit(settings: tuple[str, ...]) -> None:
    """Without decode the invariance buffer is idle: its size changes no round."""
    steps = (13,)
    assert np.array_equal(outcome(Case(steps=steps)).logits, outcome(Case(settings, steps=steps)).logits)


def test_the_invariance_buffer_changes_the_rounds_of_decode_alone() -> None:
    """Prefill does not use it. In decode, sums over rounds are taken in another order: other last bits, no decision."""
    with_it, without = outcome(Case(seed=5)), outcome(Case(("kv_buffer.enabled=false",), seed=5))
    assert np.array_equal(with_it.logits[0], without.logits[0])
    assert np.array_equal(with_it.attention, without.attention)
    assert np.array_equal(with_it.ffn, without.ffn)
    assert not np.array_equal(with_it.logits, without.logits)
    directs = [made(case).direct for case in (Case(seed=5), Case(("kv_buffer.enabled=false",), seed=5))]
    assert np.array_equal(directs[0].k[0], directs[1].k[0])
    assert np.array_equal(directs[0].v[0], directs[1].v[0])


def test_a_longer_prefill_equals_decode_in_what_does_not_depend_on_rounds() -> None:
    """K of the first layer of every token: in a block of rows or alone, the same products of the same sums."""
    blocks, alone = made(Case(steps=(13,))).direct, made(Case(steps=(9, 1, 1, 1, 1))).direct
    assert np.array_equal(blocks.k[0], alone.k[0])
    assert np.array_equal(outcome(Case(steps=(13,))).attention[0], outcome(Case(steps=(9, 1, 1, 1, 1))).attention[0])
