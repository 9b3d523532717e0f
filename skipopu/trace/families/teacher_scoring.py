"""The teacher's side of on-policy distillation: one pass over prompt and completion, a logit for each completion token.

The last token of the completion predicts nothing that is scored, so it is not fed.
"""

from dataclasses import dataclass

import numpy as np

from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import StepPhase


@dataclass(frozen=True)
class Knobs:
    """None: the pass follows from the lengths of prompt and completion."""


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:  # noqa: ARG001
    """Return one prefill that scores a completion of ``decode`` tokens after ``prompt`` tokens; nothing is drawn."""
    fed = max(prompt, prompt + decode - 1)
    header = Header(
        family="teacher_scoring",
        shape=shape,
        router=Router(),
        kv_policy="dense",
        provenance=Provenance("synthetic", seed, {}, "family teacher_scoring"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, fed - prompt)] if fed > prompt else [])),
    )
    run = np.ones((shape.dimensions.layers, fed), np.bool_)
    logits = np.asarray([decode])
    return make_trace(header, Steps.of([StepPhase.PREFILL], [fed]), q=run, kv=run, ffn=run, logit_rows=logits)
