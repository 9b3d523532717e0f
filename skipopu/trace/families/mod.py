"""Mixture-of-Depths at full size: one block in two takes one token in eight, and only those leave K/V there."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.arrays import Bools
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import StepPhase


@dataclass(frozen=True)
class Knobs:
    """``capacity``: share of a prompt that a routed block takes, and chance of a decoded token to run there.

    ``every``: one block in this many is routed, the last of each.
    """

    capacity: float = number("share", 0.001, 1)
    every: int = number("layer", 1, 1024)


def routed_layers(layers: int, every: int) -> tuple[int, ...]:
    """Return the routed blocks: the second, fourth, … for ``every`` = 2."""
    return tuple(range(every - 1, layers, every))


def capacity_tokens(capacity: float, tokens: int) -> int:
    """Return how many of a prompt's tokens a routed block takes: rounded down, at least one."""
    return max(1, int(capacity * tokens))


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Make a trace: exactly the capacity of the prompt, drawn evenly; decoded tokens drawn one by one."""
    routed = routed_layers(shape.dimensions.layers, knobs.every)
    runs = _draw(shape.dimensions.layers, routed, prompt, decode, seed, knobs.capacity)
    always = tuple(layer for layer in range(shape.dimensions.layers) if layer not in routed)
    header = Header(
        family="mod",
        shape=shape,
        router=Router("linear", always_on_attention=always, always_on_ffn=always, shared=True),
        kv_policy="evict",
        provenance=Provenance("synthetic", seed, dataclasses.asdict(knobs), "Mixture-of-Depths generator"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, decode)] if decode else [])),
    )
    steps = Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode)
    return make_trace(header, steps, q=runs, kv=runs, ffn=runs)


def _draw(layers: int, routed: tuple[int, ...], prompt: int, decode: int, seed: int, capacity: float) -> Bools:
    """Which tokens run, [layers, prompt + decode]."""
    rng = np.random.Generator(np.random.PCG64(seed))
    runs = np.ones((layers, prompt + decode), np.bool_)
    for layer in routed:
        runs[layer, :prompt] = rng.permutation(prompt) < capacity_tokens(capacity, prompt)
        runs[layer, prompt:] = rng.random(decode) < capacity
    return runs
