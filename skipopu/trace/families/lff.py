"""LFF at full size: a row runs its module, or a low-rank stand-in, or (ours) nothing; K and V of every token."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import MODULES, StepPhase

ROUTER_CUT = 200  # the public code's router is D/4 − 200 wide


@dataclass(frozen=True)
class Knobs:
    """``attention_skip``, ``ffn_skip``: shares of rows that do not run the module.

    ``drop``: share of these that run no stand-in either. ``rank``: of the stand-ins.
    """

    attention_skip: float = number("share", 0, 1)
    ffn_skip: float = number("share", 0, 1)
    drop: float = number("share", 0, 1)
    rank: int = number("element", 1, 65536)


def router_width(hidden_size: int) -> int:
    """Return the published inner width of a router, D/4 − 200; SpecError where that is not positive."""
    width = hidden_size // 4 - ROUTER_CUT
    if width < 1:
        least = 4 * (ROUTER_CUT + 1)
        raise SpecError(
            f"hidden_size = {hidden_size}: LFF's router, D/4 − {ROUTER_CUT}, has no width; at least {least}, "
            "or set router_hidden of LffConfig"
        )
    return width


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Make a trace whose rows are drawn one by one; with the same seed a larger skip skips a superset."""
    tokens, layers = prompt + decode, shape.dimensions.layers
    draws = np.random.Generator(np.random.PCG64(seed)).random((2, len(MODULES), layers, tokens))
    skip = np.asarray([knobs.attention_skip, knobs.ffn_skip])[:, None, None]
    runs = draws[0] >= skip
    header = Header(
        family="lff",
        shape=shape,
        router=Router("mlp", router_width(shape.dimensions.hidden_size), ffn_input="post_attention"),
        kv_policy="dense",
        provenance=Provenance("synthetic", seed, dataclasses.asdict(knobs), "LFF generator"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, decode)] if decode else [])),
    )
    return make_trace(
        header,
        Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode),
        q=runs[0],
        kv=np.ones((layers, tokens), np.bool_),
        ffn=runs[1],
        approx_rows=~runs & (draws[1] >= knobs.drop),
    )
