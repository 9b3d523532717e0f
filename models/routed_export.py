"""The trace of a routed decoder's run: prefill, greedy decode, and what each layer computed."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import torch

from skipopu.models.config import LlamaConfig
from skipopu.models.decisions import Decisions
from skipopu.models.export import shape_of
from skipopu.models.routed_decoder import RoutedDecoder
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import Header, Provenance, Segment, StepPhase, Trace


class About(TypedDict):
    """What an export says of itself and is told: name and source of the shape, seed of the weights, decisions."""

    name: str
    source: str
    seed: NotRequired[int]
    decisions: NotRequired[Decisions]


def export_run(model: RoutedDecoder, prompt: Sequence[int], decode: int, about: About) -> Trace:
    """Prefill ``prompt``, decode ``decode`` tokens greedily, and return what each layer computed.

    Provenance is ``synthetic``: the weights are random, drawn from the seed. Raises SpecError for an empty prompt, an
    id outside the vocabulary or a negative count.
    """
    ids, run = generate(model, prompt, decode, about.get("decisions"))
    segments = (Segment("text", 0, len(prompt)), *([Segment("target", len(prompt), decode)] if decode else []))
    header = Header(
        shape=shape_of(model.config, about["name"], about["source"]),
        provenance=Provenance("synthetic", about.get("seed"), model.knobs(), about["source"]),
        segments=segments,
        **model.header(),
    )
    return run.recorder.trace(header, token_ids=np.asarray(ids, np.int32), **model.arrays(run))


def generate(
    model: RoutedDecoder, prompt: Sequence[int], decode: int, decisions: Decisions | None = None
) -> tuple[list[int], Run]:
    """Run greedily, computing executed rows only; return the ids fed and the run."""
    _check(model.config, prompt, decode)
    run, ids = Run(model.config.layers, decisions), list(prompt)
    logits = model.extend(torch.tensor(ids), run)
    for _ in range(decode):
        ids.append(int(logits[-1].argmax()))
        logits = model.extend(torch.tensor(ids[-1:]), run, StepPhase.DECODE)
    return ids, run


def _check(config: LlamaConfig, prompt: Sequence[int], decode: int) -> None:
    if not prompt:
        raise SpecError("prompt has no tokens; give at least one")
    if decode < 0:
        raise SpecError(f"decode = {decode} tokens; must be at least 0")
    wrong = [token for token in prompt if not 0 <= token < config.vocabulary]
    if wrong:
        raise SpecError(f"prompt token {wrong[0]}; must be in the vocabulary 0..{config.vocabulary - 1}")
