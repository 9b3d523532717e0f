"""Keys read by each query, against a cache simulated entry by entry."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_traces import plain, traces

from skipopu.trace import (
    Cache,
    Event,
    EventKind,
    MaskClass,
    StepPhase,
    Steps,
    Trace,
    keys_per_query,
    synthesize,
)

PREFIX = -1


def naive(trace: Trace) -> np.ndarray:
    """Keep a list of entries per cache and layer, and count it anew for every query."""
    kv = trace.rows("kv") | (trace.header.kv_policy == "reuse_last")
    counts = np.zeros((trace.layers, trace.tokens), int)
    caches: dict[int, list[int]] = {c.id: [PREFIX] * c.prefix_hit for c in trace.header.caches}
    offsets, ranges = trace.array("kv_read_offsets"), trace.array("kv_read")
    for step in range(len(trace.steps)):
        for event in trace.events:
            if event.step == step and event.kind is EventKind.KV_POP:
                del caches[event.cache][len(caches[event.cache]) - event.rows :]
        own = caches[int(trace.steps.cache[step])]
        first, count = int(trace.steps.first_token[step]), int(trace.steps.token_count[step])
        for layer in range(trace.layers):
            before = list(own)
            if offsets is not None and ranges is not None:
                at = step * trace.layers + layer
                before = []
                for cache, start, length in ranges[offsets[at] : offsets[at + 1]]:
                    before += caches[cache][start : start + length]
            for token in range(first, first + count):
                last = first + count if trace.steps.phase[step] == StepPhase.ENCODE else token + 1
                seen = before + list(range(first, last))
                counts[layer, token] = sum(1 for t in seen if t == PREFIX or kv[layer, t])
        own.extend(range(first, first + count))
    return counts


@settings(max_examples=60)
@given(traces())
def test_any_trace_reads_what_its_caches_hold(trace: Trace) -> None:
    np.testing.assert_array_equal(keys_per_query(trace), naive(trace))


@settings(max_examples=60)
@given(data=st.data(), policy=st.sampled_from(["dense", "evict"]))
def test_popped_and_listed_entries_are_counted(data: st.DataObject, policy: str) -> None:
    counts = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    tokens, steps, layers = sum(counts), len(counts), 2
    kv = np.asarray(data.draw(st.lists(st.booleans(), min_size=2 * tokens, max_size=2 * tokens)))
    rows = kv.reshape(layers, tokens) | (policy == "dense")
    caches = (Cache(0, prefix_hit=2), Cache(1, "source"))
    held, pops, ranges, offsets = {0: 2, 1: 0}, [], [], [0]
    where = data.draw(st.lists(st.integers(0, 1), min_size=steps, max_size=steps))
    for step in range(steps):
        if held[where[step]] and data.draw(st.booleans()):
            rows_popped = data.draw(st.integers(1, held[where[step]]))
            pops.append(Event(EventKind.KV_POP, step, cache=where[step], rows=rows_popped))
            held[where[step]] -= rows_popped
        for _ in range(layers):
            for cache, size in held.items():
                if size and data.draw(st.booleans()):
                    start = data.draw(st.integers(0, size - 1))
                    ranges.append((cache, start, data.draw(st.integers(1, size - start))))
            offsets.append(len(ranges))
        held[where[step]] += counts[step]
    reads = {"kv_read": np.asarray(ranges, int).reshape(-1, 3), "kv_read_offsets": np.asarray(offsets)}
    trace = plain(
        counts,
        layers,
        steps=Steps.of([StepPhase.WRITE] * steps, counts, cache=where),
        kv_policy=policy,
        q=rows,
        kv=rows,
        caches=caches,
        events=pops,
        **(reads if data.draw(st.booleans()) else {}),
    )
    np.testing.assert_array_equal(keys_per_query(trace), naive(trace))


def test_a_window_bounds_the_keys() -> None:
    masks = np.asarray([MaskClass.CAUSAL, MaskClass.WINDOW, MaskClass.BAND])
    trace = plain([6], mask_class=masks, mask_window=np.asarray([0, 2, 0]))
    assert keys_per_query(trace).tolist() == [[1, 2, 3, 4, 5, 6], [1, 2, 2, 2, 2, 2], [1, 2, 3, 4, 5, 6]]


def test_a_reused_entry_is_read_like_any_other() -> None:
    trace = synthesize("skipgpt", "qwen3-1.7b", prompt=5, decode=3, skip=0.5)
    assert (keys_per_query(trace) == np.arange(1, 9)).all()
