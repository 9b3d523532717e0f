"""How many (row, key, head) triples the attention of a trace multiplies: groups, blocks and paths left out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.trace.context import keys_per_query, visible_entries
from skipopu.trace.layer_widths import width_groups
from skipopu.trace.schema import Trace
from skipopu.trace.visual import visual_segments

Counts = NDArray[np.int64]


def head_pairs(trace: Trace) -> Counts:
    """Return the (key, head) pairs of every row, [layers, tokens]; 0 where no query runs.

    Block masks and head paths are counted causally over all tokens of the trace; SpecError for a trace with several
    caches, whose slots they do not name.
    """
    if "attention_blocks" in trace.arrays or "head_paths" in trace.arrays:
        if len(trace.header.caches) > 1:
            raise SpecError(f"family {trace.header.family}: block masks and head paths need a trace with one cache")
        pairs = _blocks(trace) if "attention_blocks" in trace.arrays else _paths(trace)
    else:
        pairs = keys_per_query(trace) * _heads(trace)
    return np.where(trace.rows("q"), pairs, 0)


def _heads(trace: Trace) -> Counts:
    """Return the heads that each row runs, [layers, tokens]."""
    bits, heads = trace.array("head_groups"), np.empty((trace.layers, trace.tokens), np.int64)
    for layer in range(trace.layers):
        for members, widths in width_groups(trace, layer):
            heads[layer, members] = widths.query // widths.head_dim
    return heads if bits is None else heads * bits.sum(axis=2) // trace.header.head_groups


def _blocks(trace: Trace) -> Counts:
    """Count keys in the blocks that are on; each K/V head serves its group of query heads."""
    on, (rows, keys) = trace.array("attention_blocks"), trace.header.attention_block
    entries, pairs = visible_entries(trace), np.zeros((trace.layers, trace.tokens), np.int64)
    starts, blocks = np.arange(0, trace.tokens, keys), on if on is not None else np.zeros(0)
    for first in range(0, trace.tokens, rows):
        row = np.arange(first, min(first + rows, trace.tokens))
        causal = row[:, None] >= np.arange(trace.tokens)
        for layer in range(trace.layers):
            per_block = np.add.reduceat((causal & entries[layer]).astype(np.int64), starts, axis=1)
            pairs[layer, row] = per_block @ blocks[layer, :, first // rows].sum(axis=0)
    return pairs * trace.header.shape.queries_per_kv_head


def _paths(trace: Trace) -> Counts:
    """Count keys of either modality, times the heads whose path from the query's modality to them is on."""
    visual, entries = visual_segments(trace), visible_entries(trace)
    bits: Any = trace.array("head_paths")
    text_keys, image_keys = np.cumsum(entries & ~visual, axis=1), np.cumsum(entries & visual, axis=1)
    heads = bits.sum(axis=2)[:, :, None]  # text→text, text→visual, visual→text, visual→visual
    from_text = text_keys * heads[:, 0] + image_keys * heads[:, 1]
    from_image = text_keys * heads[:, 2] + image_keys * heads[:, 3]
    return np.asarray(np.where(visual, from_image, from_text))
