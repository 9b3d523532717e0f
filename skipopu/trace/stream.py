"""The schedule of a streaming model, step by step, as a trace: reads of a source, writes of a target, two K/V caches.

A read appends to the source cache and sees nothing else; a write appends to the target cache and sees both. Positions
count from 0 in the source and from ``target_position`` in the target: the two groups of a group position encoding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Cache, Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import EventKind, StepPhase

SOURCE, TARGET = 0, 1  # ids of the two caches
Ranges = list[tuple[int, int, int]]  # (cache, first slot, slots)


class Stream:
    """Steps as they are planned; `trace` makes a trace of them in which every row of every layer runs."""

    def __init__(self, target_position: int = 0) -> None:
        self.segments: list[Segment] = []
        self.events: list[Event] = []
        self._base = (0, target_position)
        self._held = [0, 0]
        self._last = [-1, -1]  # the newest step that appended to each cache, −1: none
        self._arrival = 0.0  # of the newest read
        self._phases: list[StepPhase] = []
        self._counts: list[int] = []
        self._caches: list[int] = []
        self._arrivals: list[float] = []
        self._after: list[list[int]] = []
        self._reads: list[Ranges] = []
        self._positions: list[int] = []

    @property
    def _tokens(self) -> int:
        return len(self._positions)

    @property
    def steps(self) -> int:
        """Steps planned so far."""
        return len(self._counts)

    def read(self, chunks: Sequence[tuple[str, int]], arrival: float) -> None:
        """Read chunks (segment type, tokens) in one step, as soon as they are there and the last read is done."""
        first = self._tokens
        for kind, tokens in chunks:
            self.segments.append(Segment(kind, first, tokens))
            first += tokens
        self._arrival = arrival
        waits = [self._last[SOURCE]] if self._last[SOURCE] >= 0 else []
        self._step(StepPhase.READ, SOURCE, first - self._tokens, arrival, waits)

    def write(self, passes: int, first: int = 1, segment: bool = True) -> None:
        """Feed ``first`` target tokens at once, then one a step, ``passes`` steps: a unit of the target.

        A step waits for the write before it, and for the newest read where that came after.
        """
        if segment:
            self.segments.append(Segment("target", self._tokens, first + passes - 1))
        for tokens in [first] + [1] * (passes - 1):
            self._step(StepPhase.WRITE, TARGET, tokens, self._arrival, self._write_waits())

    def pop(self) -> None:
        """Drop the newest target entry before the next step."""
        self._held[TARGET] -= 1
        self.events.append(Event(EventKind.KV_POP, self.steps, cache=TARGET, rows=1))

    def decide(self, acted: bool) -> None:
        """Let a head decide on the last hidden state of the step to come."""
        self.events.append(Event(EventKind.DECISION_OP, self.steps, outcome=int(acted)))

    def trace(self, family: str, shape: ModelShape, provenance: Provenance, source: str = "source") -> Trace:
        """Return the validated trace; ``source`` is the type of the cache that reads append to."""
        layers = shape.dimensions.layers
        header = Header(
            family, shape, Router(), "dense", provenance, segments=tuple(self.segments),
            caches=(Cache(SOURCE, source), Cache(TARGET, "target")), position_policy="explicit",
        )  # fmt: skip
        offsets, ranges = kv_reads(self._reads, layers)
        run = np.ones((layers, self._tokens), np.bool_)
        steps = Steps.of(
            self._phases, self._counts, cache=self._caches, arrival_seconds=self._arrivals, after=self._after
        )
        return make_trace(
            header, steps, q=run, kv=run, ffn=run, events=self.events,
            positions=np.asarray(self._positions), kv_read_offsets=offsets, kv_read=ranges,
        )  # fmt: skip

    def _write_waits(self) -> list[int]:
        source, target = self._last
        return [wait for wait in (target, source if source > target else -1) if wait >= 0]

    def _step(self, phase: StepPhase, cache: int, tokens: int, arrival: float, waits: list[int]) -> None:
        seen = (SOURCE,) if cache == SOURCE else (SOURCE, TARGET)
        first = self._base[cache] + self._held[cache]
        self._reads.append([(each, 0, self._held[each]) for each in seen if self._held[each]])
        self._positions += range(first, first + tokens)
        self._held[cache] += tokens
        self._last[cache] = self.steps
        self._phases.append(phase)
        self._counts.append(tokens)
        self._caches.append(cache)
        self._arrivals.append(arrival)
        self._after.append(waits)


def kv_reads(reads: Sequence[Ranges], layers: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return ``kv_read_offsets`` and ``kv_read`` where every layer of step i reads ``reads[i]``."""
    listed = [ranges for ranges in reads for _ in range(layers)]
    offsets = np.cumsum([0, *map(len, listed)], dtype=np.int64)
    return offsets, np.asarray([each for ranges in listed for each in ranges], np.int32).reshape(-1, 3)
