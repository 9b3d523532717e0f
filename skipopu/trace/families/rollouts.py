"""Rollouts of a reinforcement learner: several generations from one prompt, whose keys and values they share.

The prompt is prefilled once into a cache of its own, or is there already; each sample appends to its own cache and
reads both. A sample waits for the prompt and for itself, not for the others.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from skipopu.spec.leaf import flag, number, word
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Cache, Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.stream import Ranges, kv_reads
from skipopu.trace.vocabulary import EventKind, StepPhase
from skipopu.trace.workloads.generation_lengths import Lengths, draw
from skipopu.trace.workloads.published import methods

PROMPT = 0  # id of the prompt's cache; sample i has cache 1 + i


@dataclass(frozen=True)
class Knobs:
    """``samples`` of the prompt; ``work`` is the training method that makes them shorter (published.toml).

    ``spread``: deviation of the logarithm of the length. ``most``: longest sample, in means. ``grace``: share of the
    mean that a terminated rollout reaches in any case. ``prompt_cached``: the prompt was prefilled before.
    """

    samples: int = number("sample", 1, 1024)
    work: str = word(*methods())
    spread: float = number("1", 0, 3)
    most: float = number("1", 1, 100)
    grace: float = number("share", 0, 1)
    prompt_cached: bool = flag()


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace of ``prompt`` shared tokens; ``decode`` is the mean length of a sample without the method."""
    lengths = np.zeros(0, np.int64)
    if decode:
        most, grace = int(knobs.most * decode), int(knobs.grace * decode)
        lengths = draw(knobs.work, knobs.samples, decode, knobs.spread, seed, most, grace)
    provenance = Provenance("synthetic", seed, asdict(knobs), "family rollouts")
    return rollouts(shape, prompt, lengths, knobs.prompt_cached, provenance)


class Planned(NamedTuple):
    """A step: its tokens stand from ``position`` on."""

    phase: StepPhase
    tokens: int
    cache: int
    position: int
    reads: Ranges
    after: list[int]


def rollouts(shape: ModelShape, prompt: int, lengths: Lengths, cached: bool, provenance: Provenance) -> Trace:
    """Return the trace of samples of ``lengths`` tokens [samples] from a prompt, prefilled here unless ``cached``."""
    cached = cached and bool(len(lengths))  # without a sample the prompt is all there is
    steps = [] if cached else [Planned(StepPhase.PREFILL, prompt, PROMPT, 0, [], [])]
    events = []
    for cache, length in enumerate(lengths.tolist(), 1):
        if cached:
            events.append(Event(EventKind.PREFIX_REUSE, len(steps), cache=PROMPT, rows=prompt))
        steps += _sample(cache, length, prompt, len(steps), [] if cached else [0])
    return _trace(_header(shape, prompt, lengths, cached, provenance), steps, events)


def _sample(cache: int, length: int, prompt: int, first: int, waits: list[int]) -> list[Planned]:
    """Decode ``length`` tokens in steps from ``first`` on; the first of them waits for ``waits``."""
    return [
        Planned(
            StepPhase.DECODE,
            1,
            cache,
            prompt + token,
            [(PROMPT, 0, prompt), *([(cache, 0, token)] if token else [])],
            [first + token - 1] if token else waits,
        )
        for token in range(length)
    ]


def _trace(header: Header, steps: list[Planned], events: list[Event]) -> Trace:
    counts, layers = [step.tokens for step in steps], header.shape.dimensions.layers
    offsets, ranges = kv_reads([step.reads for step in steps], layers)
    run = np.ones((layers, sum(counts)), np.bool_)
    return make_trace(
        header,
        Steps.of([s.phase for s in steps], counts, cache=[s.cache for s in steps], after=[s.after for s in steps]),
        q=run,
        kv=run,
        ffn=run,
        events=events,
        positions=np.concatenate([np.arange(s.position, s.position + s.tokens) for s in steps]),
        kv_read_offsets=offsets,
        kv_read=ranges,
    )


def _header(shape: ModelShape, prompt: int, lengths: Lengths, cached: bool, provenance: Provenance) -> Header:
    head = 0 if cached else prompt
    starts = head + np.cumsum(lengths) - lengths
    samples = [Segment("target", int(at), int(n)) for at, n in zip(starts, lengths, strict=True)]
    return Header(
        family="rollouts",
        shape=shape,
        router=Router(),
        kv_policy="dense",
        provenance=provenance,
        segments=(*([] if cached else [Segment("text", 0, prompt)]), *samples),
        caches=(Cache(PROMPT, "prefix", prompt if cached else 0), *(Cache(1 + i) for i in range(len(lengths)))),
        position_policy="explicit",
    )
