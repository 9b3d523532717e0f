"""Rules about KV caches: what is appended, read and popped is there."""

from collections.abc import Callable

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.context import slots_before, visible_entries, walk
from skipopu.trace.schema import Trace
from skipopu.trace.steps import check_offsets
from skipopu.trace.vocabulary import EventKind


def known(trace: Trace) -> None:
    """Every step appends to a cache of the header."""
    ids = sorted(cache.id for cache in trace.header.caches)
    unknown = sorted(set(trace.steps.cache.tolist()) - set(ids))
    if unknown:
        raise SpecError(f"a step appends to cache {unknown[0]}; the header has {', '.join(map(str, ids))}")


def pops(trace: Trace) -> None:
    """No more is popped than a cache holds."""
    for cache in trace.header.caches:
        held = slots_before(trace, cache)
        if held.min() < 0:
            step = held.argmin()
            raise SpecError(
                f"kv_pop at step {step} takes {-held[step]} entries more than cache {cache.id} holds"
            )


def reads(trace: Trace) -> None:
    """``kv_read`` lists slots that are filled when the step starts."""
    offsets, ranges = trace.arrays.get("kv_read_offsets"), trace.arrays.get("kv_read")
    if (offsets is None) != (ranges is None):
        raise SpecError("arrays 'kv_read_offsets' and 'kv_read' come together or not at all")
    if offsets is None or ranges is None:
        return
    check_offsets("kv_read_offsets", offsets, len(ranges))
    step = np.repeat(np.arange(len(offsets) - 1) // trace.layers, np.diff(offsets))
    held = np.full(len(ranges), -1, np.int64)
    for cache in trace.header.caches:
        mine = ranges[:, 0] == cache.id
        held[mine] = slots_before(trace, cache)[step[mine]]
    _, first, count = ranges.T.astype(np.int64)
    bad = np.flatnonzero((first < 0) | (count < 1) | (first + count > held))
    if len(bad):
        cache_id, start, length = ranges[bad[0]].tolist()
        there = f"it holds {held[bad[0]]}" if held[bad[0]] >= 0 else "the header has no such cache"
        raise SpecError(f"kv_read of step {step[bad[0]]} spans {start}+{length} of cache {cache_id}; {there}")


def prefixes(trace: Trace) -> None:
    """No more of a prefix is reused than the cache brought along."""
    hits = {cache.id: cache.prefix_hit for cache in trace.header.caches}
    for event in trace.events:
        if event.kind is EventKind.PREFIX_REUSE and event.rows > hits[event.cache]:
            raise SpecError(
                f"{event}: reuses {event.rows} entries; cache {event.cache} has {hits[event.cache]}"
            )


def capacities(trace: Trace) -> None:
    """No layer of a cache holds more entries than its capacity."""
    limits = {c.id: np.asarray(c.capacity) for c in trace.header.caches if c.capacity}
    if not limits:
        return
    entries = visible_entries(trace)
    for moment in walk(trace):
        cache = int(trace.steps.cache[moment.step])
        held = moment.caches[cache].held + entries[:, moment.tokens].sum(axis=1)
        over = np.flatnonzero(held > limits.get(cache, held))
        if len(over):
            raise SpecError(
                f"step {moment.step} fills layer {over[0]} of cache {cache} with {held[over[0]]} entries;"
                f" its capacity is {limits[cache][over[0]]}; shorten the sequence or enlarge it"
            )


RULES: tuple[Callable[[Trace], None], ...] = (known, pops, reads, prefixes, capacities)
