"""Matrix routing: which masks a route makes of its logits, and where its weights lie."""

from typing import Any

from amaranth.hdl import Module, Mux

from skipopu.hdl.npe.result_operation import LOGITS
from skipopu.program.isa import Gate
from skipopu.spec.overlay import FP16_BYTES, Overlay

ONE_MODULE = LOGITS // 2  # columns


def route_of(m: Module, head: Any, route: Any) -> None:
    """Drive `route_layout`. The number of a gate is its bit; logits of two modules have both."""
    m.d.comb += [
        route.gates.eq(Mux(head.columns > ONE_MODULE, Gate.ATTENTION | Gate.FFN, head.gate)),
        route.mask.eq(head.mask), route.rows.eq(head.rows), route.layer.eq(head.layer),
    ]  # fmt: skip


def weights_of(m: Module, head: Any, start: Any, overlay: Overlay) -> None:
    """Drive `router_start`: words from ``address`` on, two or four columns of every K-tile."""
    word, one = overlay.ker.constant_bytes_per_cycle, overlay.pe_array.dot_length * ONE_MODULE * FP16_BYTES
    modules = Mux(head.columns > ONE_MODULE, head.k_tiles << 1, head.k_tiles)
    m.d.comb += [
        start.half.eq(head.half), start.address.eq(head.address),
        start.words.eq((modules * one + (word - 1)) >> word.bit_length() - 1),
    ]  # fmt: skip
