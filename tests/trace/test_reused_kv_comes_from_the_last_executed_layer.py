"""The source layer of each K/V entry, against the recursion of the paper (SkipOPU §2.1)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_traces import plain

from skipopu.trace import synthesize

MASKS = st.tuples(st.integers(1, 7), st.integers(1, 9)).flatmap(lambda axes: hnp.arrays(bool, axes))


def source(executed: np.ndarray, layer: int, token: int) -> int:
    """Fall back to the layer below until one has executed."""
    return layer if executed[layer, token] else source(executed, layer - 1, token)


@given(MASKS)
def test_reuse_falls_back_recursively(kv: np.ndarray) -> None:
    kv[0] = True
    layers, tokens = kv.shape
    trace = plain([tokens], layers, kv_policy="reuse_last", q=kv, kv=kv)
    wanted = [[source(kv, layer, token) for token in range(tokens)] for layer in range(layers)]
    found = trace.kv_source_layers()
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, wanted)


@given(MASKS)
def test_without_reuse_an_entry_is_its_own_or_missing(kv: np.ndarray) -> None:
    layers, tokens = kv.shape
    trace = plain([tokens], layers, kv_policy="evict", q=kv, kv=kv)
    for (layer, token), here in np.ndenumerate(kv):
        assert trace.kv_source_layers()[layer, token] == (layer if here else -1)


def test_persistence_lengthens_reuse() -> None:
    """With decisions that persist, a reused entry comes from further above."""
    ages = []
    for rho in (0.0, 0.9):
        trace = synthesize("skipgpt", "llama2-7b", prompt=400, decode=0, skip=0.25, rho=rho)
        ages.append((np.arange(32)[:, None] - trace.kv_source_layers()).mean())
    assert ages[1] > 2 * ages[0]
