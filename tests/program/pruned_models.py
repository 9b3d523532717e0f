"""Statically pruned traces of a small model, and the sizes that are left, worked out by hand."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from small_programs import shape

from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import LayerShape, Trace
from skipopu.trace.family import generate

SIZES: dict[str, int] = {"attention_heads": 8, "kv_heads": 4}
NAMES = ("q", "k", "v", "o", "gate", "up", "down")


def model(**changes: Any) -> ModelShape:
    """Three layers: hidden size 64, eight query heads of 16 elements over four, 128 channels."""
    return shape(**(SIZES | changes))


def pruned(
    kind: str, sparsity: Fraction | float, of: ModelShape | None = None, prompt: int = 9, decode: int = 2
) -> Trace:
    """A trace of the family ``static``."""
    knobs = (f"kind={kind}", f"sparsity={float(sparsity)}")
    return generate("static", of or model(), prompt, decode, seed=1, knobs=knobs)


def dense(of: ModelShape, prompt: int = 9, decode: int = 2) -> Trace:
    """A trace in which everything runs."""
    return generate("dense", of, prompt, decode)


def cut(trace: Trace, *layers: LayerShape) -> Trace:
    """The trace with layer shapes of one's own."""
    return replace(trace, header=replace(trace.header, layer_shapes=layers))


def stored(of: ModelShape, overlay: Overlay) -> dict[str, tuple[int, int]]:
    """Return (columns, rows) of the seven matrices as they are stored: heads and results in whole tiles."""
    d, dot = of.dimensions, overlay.pe_array.dot_length
    head = overlay.head_storage(d.head_dim)
    hidden, inner = (-(-n // dot) * dot for n in (d.hidden_size, d.intermediate_size))
    q, kv = d.attention_heads * head, d.kv_heads * head
    return {
        "q": (q, d.hidden_size), "k": (kv, d.hidden_size), "v": (kv, d.hidden_size), "o": (hidden, q),
        "gate": (inner, d.hidden_size), "up": (inner, d.hidden_size), "down": (hidden, d.intermediate_size),
    }  # fmt: skip


def streamed(columns: int, rows: int, overlay: Overlay) -> int:
    """Bytes that a matrix of INT4 takes on its way: whole tiles, in chunks of all ports."""
    width, dot = overlay.pe_array.columns, overlay.pe_array.dot_length
    size = -(-columns // width) * -(-rows // dot) * width * dot // 2
    return -(-size // overlay.hbm_bytes_per_cycle) * overlay.hbm_bytes_per_cycle


def factor_bytes(of: ModelShape, ranks: Mapping[str, int], overlay: Overlay) -> int:
    """Bytes of a layer whose matrices are low-rank where ``ranks`` says so, gate and up apart."""
    total, dot = 0, overlay.pe_array.dot_length
    for name, (columns, rows) in stored(of, overlay).items():
        if rank := ranks.get(name, 0):
            total += streamed(-(-rank // dot) * dot, rows, overlay) + streamed(columns, rank, overlay)
        else:
            total += streamed(columns, rows, overlay)
    return total
