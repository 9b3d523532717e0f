"""What a block's queries see of a layer's K/V cache, where that is not everything older.

A trace may have several caches (source and target of a streaming model), entries that were there before it began, and
entries that are taken back. All of them lie in one cache a layer, in the order in which they came: a view is a set of
its places. In the machine it is a mask on the bitmask that the scheduler reads.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import Passes
from skipopu.program.row_blocks import active_rows, prefix
from skipopu.trace import EventKind, Trace

Bools = NDArray[np.bool_]


class Views(NamedTuple):
    """``sets`` [views, places]; ``shown`` [passes, layers]: which of them a block's queries have."""

    sets: Bools
    shown: NDArray[np.int64]


def views_of(trace: Trace, passes: Passes) -> Views:
    """Return the views of all blocks."""
    places, active = prefix(trace) + trace.tokens, active_rows(trace)
    shown = np.zeros(passes.present.shape, np.int64)
    found = {np.ones(places, np.bool_).tobytes(): 0}
    if _everything_older(trace):
        return Views(np.ones((1, places), np.bool_), shown)
    for step, older in enumerate(_visible(trace)):
        for layer in range(trace.layers):
            there = np.concatenate([np.ones(prefix(trace), np.bool_), active[layer]])
            own = np.zeros(places, np.bool_)
            own[: there.sum()] = older[layer][there]
            shown[passes.step == step, layer] = found.setdefault(own.tobytes(), len(found))
    sets = np.frombuffer(b"".join(found), np.bool_).reshape(len(found), places)
    return Views(sets, shown)


def _everything_older(trace: Trace) -> bool:
    popped = any(event.kind is EventKind.KV_POP for event in trace.events)
    return len(trace.header.caches) == 1 and "kv_read" not in trace.arrays and not popped


def _visible(trace: Trace) -> Iterator[Bools]:
    """Yield for each step what its queries may see, [layers, prefix + tokens]: what is listed, and the step itself."""
    held = _prefixes(trace)
    pops = [e for e in trace.events if e.kind is EventKind.KV_POP]
    places = prefix(trace) + trace.tokens
    for step in range(len(trace.steps)):
        for event in pops:
            if event.step == step:
                del held[event.cache][len(held[event.cache]) - event.rows :]
        first, count = int(trace.steps.first_token[step]), int(trace.steps.token_count[step])
        own = range(prefix(trace) + first, prefix(trace) + first + count)
        seen = np.zeros((trace.layers, places), np.bool_)
        seen[:, own] = True
        for layer in range(trace.layers):
            seen[layer, _listed(trace, held, step, layer)] = True
        yield seen
        held[int(trace.steps.cache[step])].extend(own)


def _prefixes(trace: Trace) -> dict[int, list[int]]:
    """Places of the entries that each cache had before the trace."""
    held, start = {}, 0
    for cache in trace.header.caches:
        held[cache.id] = list(range(start, start + cache.prefix_hit))
        start += cache.prefix_hit
    return held


def _listed(trace: Trace, held: dict[int, list[int]], step: int, layer: int) -> list[int]:
    offsets, ranges = trace.arrays.get("kv_read_offsets"), trace.arrays.get("kv_read")
    if offsets is None or ranges is None:
        return held[int(trace.steps.cache[step])]
    at = step * trace.layers + layer
    own = ranges[offsets[at] : offsets[at + 1]].tolist()
    return [place for cache, first, count in own for place in held[cache][first : first + count]]
