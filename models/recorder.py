"""What a running model executed, collected while it runs: steps, rows of every layer, events."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.trace import Event, Header, StepPhase, Steps, Trace, make_trace

KINDS = ("q", "kv", "ffn")


class Recorder:
    """Marks rows as a model computes them, and makes the trace of the run.

    A model calls `step` for the tokens it is given, and `ran` where it has really projected a query, projected and
    appended a key and a value, or run an FFN. Tokens are numbered from 0 in the order of steps.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.events: list[Event] = []
        self._phases: list[StepPhase] = []
        self._counts: list[int] = []
        self._caches: list[int] = []
        self._arrivals: list[float] = []
        self._after: list[tuple[int, ...]] = []
        self._marks: dict[str, list[tuple[int, NDArray[np.int64]]]] = {kind: [] for kind in KINDS}

    @property
    def tokens(self) -> int:
        """Tokens of all steps so far."""
        return sum(self._counts)

    @property
    def current(self) -> int:
        """Number of the step that runs."""
        return len(self._counts) - 1

    def step(
        self, phase: StepPhase, tokens: int, *, cache: int = 0, arrival: float = 0.0, after: Iterable[int] | None = None
    ) -> int:
        """Begin a step of ``tokens`` tokens and return the number of its first; it waits for the step before."""
        first = self.tokens
        previous = (self.current,) if self._counts else ()
        self._phases.append(phase)
        self._counts.append(tokens)
        self._caches.append(cache)
        self._arrivals.append(arrival)
        self._after.append(previous if after is None else tuple(after))
        return first

    def ran(self, kind: str, layer: int, tokens: Any) -> None:
        """Mark rows of ``kind`` (q, kv, ffn) as computed in ``layer``; ``tokens``: their numbers, any integers."""
        self._marks[kind].append((layer, np.asarray(tokens, np.int64).reshape(-1)))

    def event(self, event: Event) -> None:
        """Note an event of the step that runs."""
        self.events.append(event)

    def rows(self, kind: str) -> NDArray[np.bool_]:
        """Rows of ``kind`` that ran, [layers, tokens]."""
        found = np.zeros((self.layers, self.tokens), np.bool_)
        for layer, tokens in self._marks[kind]:
            found[layer, tokens] = True
        return found

    def trace(self, header: Header, **arrays: Any) -> Trace:
        """Return the validated trace; ``arrays`` are further ones of the schema."""
        steps = Steps.of(
            self._phases, self._counts, cache=self._caches, arrival_seconds=self._arrivals, after=self._after
        )
        rows = {kind: self.rows(kind) for kind in KINDS}
        return make_trace(header, steps, **rows, events=self.events, **arrays)
