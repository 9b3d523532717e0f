"""Routing-Free MoE at full size: each expert of each token on by chance, at the density that training aims at."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import StepPhase


@dataclass(frozen=True)
class Knobs:
    """``experts`` a layer of ``expert_size`` channels, scored through matrices of ``expert_rank`` rows.

    ``density``: share of experts that a token activates. ``dense_layers``: first layers with an ordinary FFN.
    """

    experts: int = number("expert", 1, 65536)
    expert_size: int = number("element", 1, 262144)
    expert_rank: int = number("element", 1, 65536)
    density: float = number("share", 0, 1)
    dense_layers: int = number("layer", 0, 1024)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Make a trace; every row of ``ffn`` runs, as all scores are computed for every token."""
    tokens, layers = prompt + decode, shape.dimensions.layers
    rows = np.ones((layers, tokens), np.bool_)
    experts = np.random.Generator(np.random.PCG64(seed)).random((layers, tokens, knobs.experts)) < knobs.density
    experts[: knobs.dense_layers] = False
    header = Header(
        family="routing_free_moe",
        shape=shape,
        router=Router(),
        kv_policy="dense",
        provenance=Provenance("synthetic", seed, dataclasses.asdict(knobs), "Routing-Free MoE generator"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, decode)] if decode else [])),
        experts=knobs.experts,
    )
    steps = Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode)
    return make_trace(header, steps, q=rows, kv=rows, ffn=rows, experts=experts)
