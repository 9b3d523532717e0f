"""A trace that begins with entries in its K/V cache: decode at a given K/V length without the prefill before it."""

from dataclasses import replace

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.check import in_range
from skipopu.trace.schema import Trace
from skipopu.trace.validate import validate

MOST_ENTRIES = 2**17  # as the longest context of the shipped shapes


def with_prefix(trace: Trace, entries: int) -> Trace:
    """Return the trace behind ``entries`` tokens that are in every layer's K/V cache already; positions follow them.

    Raises SpecError for a trace that has several caches, or entries of its own from before.
    """
    in_range("prefix", entries, 0, MOST_ENTRIES)
    if not entries:
        return trace
    caches = trace.header.caches
    if len(caches) != 1 or caches[0].prefix_hit:
        raise SpecError(
            f"prefix = {entries}: family {trace.header.family} has {len(caches)} K/V caches with"
            f" {sum(cache.prefix_hit for cache in caches)} entries from before; a prefix goes with one empty cache"
        )
    header = replace(trace.header, position_policy="explicit", caches=(replace(caches[0], prefix_hit=entries),))
    positions = trace.arrays.get("positions", np.arange(trace.tokens, dtype=np.int32))
    found = Trace(header, trace.steps, {**trace.arrays, "positions": positions + np.int32(entries)}, trace.events)
    validate(found)
    return found
