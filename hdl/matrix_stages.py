"""Matrix stages: how long after its last word, or its last row, the last thing of an operation is written."""

from typing import Any

from amaranth.hdl import Mux, Value

from skipopu.hdl.matrix_kind import MatrixKind
from skipopu.spec.overlay import Overlay


def most_stages(overlay: Overlay) -> int:
    """Return the most cycles of any operation."""
    n = overlay.npe
    return max(overlay.result_latency + n.statistics_latency, overlay.route_latency, n.inverse_latency)


def result_stages(kind: MatrixKind, head: Any, overlay: Overlay) -> Value:
    """Return the cycles of this one, as `sim.loop_bounds` has them."""
    o, n = overlay, overlay.npe
    scores = Mux(head.normalize, o.result_latency + n.statistics_latency, o.result_latency)
    logits = Mux(head.normalize, max(o.route_latency, n.inverse_latency), o.route_latency)
    statistics = Mux(kind.score_pass, n.statistics_latency, n.inverse_latency)
    # what was normalised is written before it reaches the array: only retirement is left
    passes = Mux(kind.normalize, 1, statistics)
    route = Mux(kind.logits, logits, n.inverse_latency)
    products = Mux(kind.scores, scores, o.result_latency)
    return Mux(kind.route, route, Mux(kind.normalize | kind.statistics, passes, products))
