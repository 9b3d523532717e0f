"""Entries from before a trace: every query reads them, nothing computes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_traces import shape

from skipopu.spec.error import SpecError
from skipopu.trace import keys_per_query, read_trace, write_trace
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.prefix import with_prefix
from skipopu.trace.synthetic import synthesize

ATTENTION = ("scores", "values")


@given(st.integers(1, 100), st.integers(1, 6), st.integers(0, 4), st.sampled_from(["dense", "bernoulli", "skipgpt"]))
def test_queries_read_the_prefix_and_rows_stay_as_they_were(entries, prompt, decode, family):
    plain = synthesize(family, shape(), prompt, decode)
    found = with_prefix(plain, entries)
    asks = plain.rows("q")
    assert np.array_equal(keys_per_query(found)[asks], keys_per_query(plain)[asks] + entries)
    for kind in ("q", "kv", "ffn"):
        assert np.array_equal(found.rows(kind), plain.rows(kind))
    assert found.arrays["positions"].tolist() == [entries + token for token in range(prompt + decode)]


def test_only_attention_grows_and_by_the_prefix_alone():
    plain = synthesize("dense", shape(), 3, 2)
    found, d = with_prefix(plain, 40), plain.header.shape.dimensions
    more = total_macs(gemms(found)) - total_macs(gemms(plain))
    assert more == total_macs(gemms(found), *ATTENTION) - total_macs(gemms(plain), *ATTENTION)
    assert more == 5 * d.layers * 40 * 2 * d.attention_heads * d.head_dim


def test_no_prefix_is_the_trace_itself_and_a_prefix_survives_a_file(tmp_path):
    plain = synthesize("skipgpt", shape(), 3, 2)
    assert with_prefix(plain, 0) is plain
    write_trace(with_prefix(plain, 7), tmp_path / "t")
    assert read_trace(tmp_path / "t") == with_prefix(plain, 7)


def test_a_prefix_needs_one_empty_cache():
    streaming = generate("wait_k", shape(), 8, 4)
    with pytest.raises(SpecError, match="wait_k has 2 K/V caches with 0 entries"):
        with_prefix(streaming, 8)
    with pytest.raises(SpecError, match="has 1 K/V caches with 8 entries"):
        with_prefix(with_prefix(synthesize("dense", shape(), 3, 2), 8), 8)
    with pytest.raises(SpecError, match="prefix = -1"):
        with_prefix(synthesize("dense", shape(), 3, 2), -1)
