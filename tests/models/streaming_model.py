"""A small random decoder for streaming, a source of words, and the comparison of two traces of one schedule."""

import numpy as np
import torch
from tiny_model import DECODER

from skipopu.models.llama import Llama
from skipopu.models.wait_k import Segmentation, Source
from skipopu.trace import Trace

IDS = range(DECODER.vocabulary)
SEGMENTATION = Segmentation(
    begins=frozenset(i for i in IDS if i % 3 == 0), closes=frozenset(i for i in IDS if i % 8 == 1), start=2, end=64
)  # the end token is outside the vocabulary: a translation runs up to its limit


def decoder(seed: int = 0) -> Llama:
    """A float64 model whose logits depend on what it sees."""
    model = Llama(DECODER).double().eval()
    model.initialize(seed)
    return model


def source(words: int, seed: int = 0, instruct: int = 3) -> Source:
    """An instruction and words of 1 to 3 tokens."""
    random = np.random.default_rng(seed)
    drawn = [tuple(random.integers(0, 64, random.integers(1, 4)).tolist()) for _ in range(words)]
    return Source(tuple(random.integers(0, 64, instruct).tolist()), tuple(drawn), words_per_second=2.0)


def same_schedule(one: Trace, other: Trace) -> None:
    """Assert that steps, rows, events, reads, positions, segments and caches are equal."""
    for name, column in one.steps.columns().items():
        np.testing.assert_array_equal(column, other.steps.columns()[name], err_msg=name)
    for name in ("rows_q", "rows_kv", "rows_ffn", "positions", "kv_read", "kv_read_offsets"):
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name], err_msg=name)
    assert one.events == other.events
    assert one.header.segments == other.header.segments
    assert one.header.caches == other.header.caches


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Assert equality up to rounding in float64."""
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)
