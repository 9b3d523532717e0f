"""The compute of visual tokens as papers on visual pruning count it."""

import numpy as np

from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.schema import Trace
from skipopu.trace.visual import visual_segments


def visual_macs(trace: Trace) -> int:
    """Return the multiply-accumulates of visual rows: Σ over layers of 4nD² + 2n²D + 3nDm for n tokens that run whole.

    The convention: projections and FFN of visual rows, and attention of visual queries to visual keys without halving
    it for causality. Text, system tokens, text's attention to the image, scores, projector and vision tower are not
    counted. ViCA's paper counts two operations a multiply-accumulate, HiDrop's and VisiPruner's one.
    """
    visual, size = visual_segments(trace), trace.header.shape.query_size
    whole = (g for g in gemms(trace, visual) if g.name not in ("scores", "values"))
    queries, keys = (trace.rows(kind)[:, visual].sum(axis=1, dtype=np.int64) for kind in ("q", "kv"))
    return total_macs(whole) + 2 * size * int(queries @ keys)


def visual_tokens(trace: Trace) -> float:
    """Return the visual tokens whose FFN runs in a layer, averaged over layers."""
    return float(trace.rows("ffn")[:, visual_segments(trace)].sum(axis=1).mean())
