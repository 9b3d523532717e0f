"""Whatever the overlay and the masks: every K/V byte is read once, from where it was written, and reads end."""

import numpy as np
import pytest
from hypothesis import given, settings
from kv_cases import WIDE, overlays, resolved, traces
from kv_replay import longest_wait, replay

from skipopu.program.context import Context
from skipopu.results.kv_reads import read_kv, vector_bytes
from skipopu.sim import kv_stream
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace

QUIET = 1000  # core cycles without a beat or a chunk set: two refreshes and the longest way to the memory are fewer
K, V = 0, 1


@pytest.fixture(autouse=True)
def _short_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_stream, "WATCHDOG_CYCLES", QUIET)


def entries_read(context: Context) -> int:
    """Tokens that the executed queries of all decode steps see, from the trace's own key count."""
    trace, newest = context.trace, context.passes.first[context.passes.decode]
    visible = np.cumsum(trace.kv_source_layers() >= 0, axis=1)
    return int((visible[:, newest] * trace.rows("q")[:, newest]).sum())


def check(trace: Trace, overlay: Overlay) -> None:
    context = resolved(trace, overlay)
    found = read_kv(context, WIDE)  # audited: bytes asked = bytes delivered = beats of the memory = those of the rounds
    reads = found.found.reads
    total = entries_read(context) * vector_bytes(context)
    assert int(reads.hbm_bytes.sum() + reads.buffer_bytes.sum()) == total
    for field in ("rounds", "hbm_bytes", "buffer_bytes", "chunk_sets"):
        assert np.array_equal(reads[field][..., K], reads[field][..., V]), field
    assert not reads.hbm_bytes[~found.found.executed].any()
    if context.limits.capacity == 0 or context.limits.spread:
        assert not reads.buffer_bytes.any()
    assert replay(context) == int(reads.buffer_bytes.sum()) // vector_bytes(context)
    assert longest_wait(context) <= context.limits.ports


@settings(max_examples=300)
@given(trace=traces(), overlay=overlays())
def test_on_any_overlay(trace: Trace, overlay: Overlay) -> None:
    check(trace, overlay)


@settings(max_examples=150)
@given(trace=traces(most_tokens=60), overlay=overlays())
def test_of_a_prefill_too(trace: Trace, overlay: Overlay) -> None:
    """A head pair at a time, past the buffer; every row block sees all tokens before it."""
    context = resolved(trace, overlay)
    found = read_kv(context, WIDE, "prefill").found
    blocks = found.passes
    visible = np.cumsum(context.placement.source >= 0, axis=1)
    newest = (context.passes.first + context.passes.rows)[blocks] - 1
    entries = int((visible[:, newest].T * found.executed).sum())
    assert int(found.reads.hbm_bytes.sum()) == entries * vector_bytes(context)
    assert not found.reads.buffer_bytes.any()


@pytest.mark.slow
@settings(max_examples=2000)
@given(trace=traces(most_tokens=600), overlay=overlays())
def test_on_very_many_overlays(trace: Trace, overlay: Overlay) -> None:
    check(trace, overlay)
