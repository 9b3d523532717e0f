"""Static pruning, after PruningInferSim's taxonomy: the same cut for every token, known before the run.

Kinds: ``depth`` drops whole layers, ``block`` single attention and FFN modules, ``width`` KV heads with the queries
that share them, and FFN channels, ``hidden`` elements of the residual stream, ``low_rank`` factors all seven matrices
of a layer, ``2:4`` keeps two weights of four along K.

Rounding: what is dropped (layers, modules, KV heads, channels, elements) is ⌊sparsity · whole⌋; an N × K matrix has
PruningInferSim's rank ⌊(1 − s)·N·K / (N + K)⌋, so that its two factors never hold more than the share that is kept.

On the overlay a width or hidden cut runs as the small model that it is, with an even number of KV heads; low-rank
weights run as two products, with the rows between them on chip; 2:4 runs as the dense model, for the PE array has no
sparse path and none is published: the zeros are streamed, and only what is useful counts as multiply-accumulates.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import number, word
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.arrays import Bools
from skipopu.trace.header import Header, LayerShape, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import MODULES, StepPhase

NO_ATTENTION: Mapping[str, Any] = {"attention_heads": 0, "kv_heads": 0}
NO_FFN: Mapping[str, Any] = {"intermediate_size": 0}


@dataclass(frozen=True)
class Knobs:
    """``kind`` of pruning and the share that it takes away, see the module."""

    kind: str = word("depth", "block", "width", "hidden", "low_rank", "2:4")
    sparsity: float = number("share", 0, 0.95)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Make a trace; ``seed`` draws which layers or modules go."""
    shapes = plan(shape, knobs, seed)
    rows = executed_rows(shape, shapes, prompt + decode)
    header = Header(
        family="static",
        shape=shape,
        router=Router(),
        kv_policy="dense",
        provenance=Provenance("synthetic", seed, dataclasses.asdict(knobs), "static pruning generator"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, decode)] if decode else [])),
        layer_shapes=shapes,
    )
    steps = Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode)
    return make_trace(header, steps, q=rows[0], kv=rows[0], ffn=rows[1])


def plan(shape: ModelShape, knobs: Knobs, seed: int) -> tuple[LayerShape, ...]:
    """Return what differs from the dense shape, layer by layer; SpecError where the kind has no such sparsity."""
    if knobs.kind in ("depth", "block"):
        return _dropped(shape.dimensions.layers, knobs, seed)
    d, s = shape.dimensions, knobs.sparsity
    if knobs.kind == "2:4":
        if s != 0.5:
            raise SpecError(f"knob sparsity = {s:g}; 2:4 keeps two of four weights; nearest: 0.5")
        return tuple(LayerShape(layer, sparsity="2:4") for layer in range(d.layers))
    sizes: dict[str, Any]
    if knobs.kind == "width":
        kv_heads = _kept(d.kv_heads, s)
        sizes = {
            "attention_heads": kv_heads * shape.queries_per_kv_head,
            "kv_heads": kv_heads,
            "intermediate_size": _kept(d.intermediate_size, s),
        }
    elif knobs.kind == "hidden":
        sizes = {"hidden_size": _kept(d.hidden_size, s)}
    else:
        ranks = tuple(rank_of(n, k, s) for n, k in matrices(shape).values())
        return tuple(LayerShape(layer, ranks=ranks) for layer in range(d.layers))
    return tuple(LayerShape(layer, **sizes) for layer in range(d.layers))


def executed_rows(shape: ModelShape, shapes: tuple[LayerShape, ...], tokens: int) -> Bools:
    """Return which modules run, [2, layers, tokens], the same for every token."""
    rows = np.ones((len(MODULES), shape.dimensions.layers, tokens), np.bool_)
    for override in shapes:
        rows[0, override.layer] = override.attention_heads != 0
        rows[1, override.layer] = override.intermediate_size != 0
    return rows


def matrices(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Return (N, K) of the matrices of a dense layer."""
    d, q, kv = shape.dimensions.hidden_size, shape.query_size, shape.kv_size
    ffn = shape.dimensions.intermediate_size
    gate = {"gate": (ffn, d)} if shape.gated else {}
    return {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q)} | gate | {"up": (ffn, d), "down": (d, ffn)}


def rank_of(n: int, k: int, sparsity: float) -> int:
    """Return the rank at which the factors of an N × K matrix hold 1 − ``sparsity`` of its weights, rounded down."""
    rank = int((1 - _exact(sparsity)) * n * k / (n + k))
    if rank < 1:
        raise SpecError(f"knob sparsity = {sparsity:g} leaves a matrix of {n} x {k} no rank; make it smaller")
    return rank


def _dropped(layers: int, knobs: Knobs, seed: int) -> tuple[LayerShape, ...]:
    rng = np.random.Generator(np.random.PCG64(seed))
    unit = 1 if knobs.kind == "depth" else len(MODULES)  # of a layer that can go by itself
    count = int(_exact(knobs.sparsity) * layers * unit)
    gone = np.zeros(layers * unit, np.bool_)
    gone[rng.permutation(layers * unit)[:count]] = True
    attention, ffn = (gone, gone) if unit == 1 else (gone[0::2], gone[1::2])
    cuts = [dict(NO_ATTENTION if a else {}) | dict(NO_FFN if f else {}) for a, f in zip(attention, ffn, strict=True)]
    return tuple(LayerShape(layer, **cut) for layer, cut in enumerate(cuts) if cut)


def _kept(whole: int, sparsity: float) -> int:
    return whole - int(_exact(sparsity) * whole)


def _exact(share: float) -> Fraction:
    """The share as it was written: 0.3 · 10 is 3, not 2.999…."""
    return Fraction(str(share))
