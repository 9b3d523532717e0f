"""Latent reasoning: thoughts are states fed back without ever becoming tokens, so their steps need no LM head.

Thought 1 is the last state of the prompt, thought i + 1 that of the step that fed thought i; the step that feeds the
last thought yields the first logit.
"""

from dataclasses import asdict, dataclass

import numpy as np

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import StepPhase

CLASSES = ("token", "latent")


@dataclass(frozen=True)
class Knobs:
    """``latent_share`` of the decode steps feed thoughts."""

    latent_share: float = number("share", 0, 1)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace of ``prompt`` tokens and ``decode`` steps, the first of them latent; nothing is drawn."""
    latent, layers, tokens = round(decode * knobs.latent_share), shape.dimensions.layers, prompt + decode
    header = Header(
        family="latent_reasoning",
        shape=shape,
        router=Router(),
        kv_policy="dense",
        provenance=Provenance("synthetic", seed, asdict(knobs), "family latent_reasoning"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, decode)] if decode else [])),
        token_classes=CLASSES,
    )
    run = np.ones((layers, tokens), np.bool_)
    token = np.arange(tokens)
    return make_trace(
        header,
        Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode),
        q=run,
        kv=run,
        ffn=run,
        token_class=((token >= prompt) & (token < prompt + latent)).astype(np.uint8),
        logit_rows=(np.arange(1 + decode) >= latent).astype(np.int32),
    )
