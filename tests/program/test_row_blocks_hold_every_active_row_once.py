"""Row blocks: every token that is in a layer is in one block of it, in order, beside tokens that do the same."""

import numpy as np
import pytest
from family_traces import KNOBS, family_trace
from hypothesis import given
from hypothesis import strategies as st

from skipopu.numerics.kv_rounds import Passes
from skipopu.program.kv_views import views_of
from skipopu.program.row_blocks import prefix, row_blocks
from skipopu.program.score_layers import cache_sources, score_layers
from skipopu.trace import Trace, keys_per_query

families = st.sampled_from(list(KNOBS))
sizes, seeds = st.integers(1, 9), st.integers(0, 3)


def tokens_of(passes: Passes, block: int) -> list[int]:
    first = int(passes.first[block])
    return [int(token) for token in passes.tokens[first : first + passes.rows[block]]]


def in_layer(trace: Trace, layer: int) -> list[int]:
    """Tokens that run something there; all where routers decide."""
    if trace.header.router.kind != "none":
        return list(range(trace.tokens))
    runs = [trace.rows("q")[layer], trace.rows("kv")[layer], trace.rows("ffn")[layer]]
    return [token for token in range(trace.tokens) if any(kind[token] for kind in runs)]


@given(families, sizes, seeds)
def test_each_is_in_one_block_of_the_layer(name: str, row_block: int, seed: int) -> None:
    trace = family_trace(name, seed=seed)
    passes = row_blocks(trace, row_block)
    assert passes.rows.max() <= row_block
    assert len(passes.tokens) == passes.rows.sum()
    for layer in range(trace.layers):
        found = [t for b in range(len(passes.rows)) if passes.present[b, layer] for t in tokens_of(passes, b)]
        assert sorted(found) == in_layer(trace, layer)


@given(families, sizes)
def test_rows_of_a_block_are_neighbours_in_the_cache(name: str, row_block: int) -> None:
    trace = family_trace(name)
    passes = row_blocks(trace, row_block)
    for block, layer in np.argwhere(passes.present).tolist():
        order = in_layer(trace, layer)
        start = order.index(tokens_of(passes, block)[0])
        assert tokens_of(passes, block) == order[start : start + int(passes.rows[block])]
        assert passes.rank[block, layer] == prefix(trace) + start


@given(families, sizes)
def test_rows_of_a_block_do_the_same_unless_a_router_decides(name: str, row_block: int) -> None:
    trace = family_trace(name)
    passes = row_blocks(trace, row_block)
    if trace.header.router.kind != "none":
        return
    for kind in ("q", "kv", "ffn"):
        counts = passes.counts(trace.rows(kind))
        assert np.all((counts == 0) | (counts == passes.rows[:, None]))


@pytest.mark.parametrize("name", KNOBS)
def test_a_block_sees_the_keys_that_the_trace_says(name: str) -> None:
    """Of each block's last row: entries in its view up to what it sees, counted in the layer's cache."""
    trace = family_trace(name)
    passes = row_blocks(trace, 4)
    views, sources = views_of(trace, passes), cache_sources(trace, score_layers(trace))
    wanted, queries = keys_per_query(trace), trace.rows("q")
    for block, layer in np.argwhere(passes.present).tolist():
        last = tokens_of(passes, block)[-1]
        end = int(passes.seen()[block, layer])
        seen = (sources[layer, :end] >= 0) & views.sets[views.shown[block, layer], :end]
        if queries[layer, last]:
            assert seen.sum() == wanted[layer, last], (block, layer)


def test_without_pruning_a_slot_is_a_token() -> None:
    passes = row_blocks(family_trace("skipgpt"), 4)
    assert passes.tokens.tolist() == list(range(9))
    assert passes.present.all()
    assert np.array_equal(passes.rank, np.broadcast_to(passes.first[:, None], passes.rank.shape))


def test_tokens_that_stay_are_gathered_and_whole_blocks_go_on() -> None:
    """HiDrop: text and system rows keep their blocks, visual ones get new ones at each filter."""
    trace = family_trace("hidrop")
    passes = row_blocks(trace, 16)
    prefill = [(tokens_of(passes, b), np.flatnonzero(passes.present[b]).tolist()) for b in range(5)]
    assert prefill[0] == ([0, 1, 2], list(range(10)))
    assert prefill[1] == (list(range(15, 21)), list(range(10)))
    assert [layers for _, layers in prefill[2:]] == [[2, 3], [4, 5], [6, 7]]
    assert [len(tokens) for tokens, _ in prefill[2:]] == [12, 6, 2]
