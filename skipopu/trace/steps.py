"""The steps of a trace, as a structure of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.trace.arrays import Array, to_stored
from skipopu.trace.vocabulary import StepPhase

DECODE_PHASES = (StepPhase.DECODE, StepPhase.WRITE)


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps in execution order; each runs ``token_count`` consecutive tokens through all layers.

    Shapes: all [steps]; ``after`` is a CSR pair (offsets [steps+1], step indices [edges]): what a step waits
    for. ``cache`` is the id of the cache it appends to; ``arrival_seconds`` when its input exists.
    """

    phase: NDArray[np.uint8]
    first_token: NDArray[np.int32]
    token_count: NDArray[np.int32]
    cache: NDArray[np.int16]
    arrival_seconds: NDArray[np.float64]
    after: tuple[NDArray[np.int64], NDArray[np.int32]]

    def __len__(self) -> int:
        return len(self.phase)

    @classmethod
    def of(
        cls,
        phases: Sequence[int],
        counts: Sequence[int],
        *,
        cache: int | Sequence[int] = 0,
        arrival_seconds: float | Sequence[float] = 0.0,
        after: Sequence[Sequence[int]] | None = None,
    ) -> "Steps":
        """Make steps from their phases and token counts; without ``after`` each waits for the one before."""
        n = len(phases)
        waits = [[i - 1] if i else [] for i in range(n)] if after is None else after
        offsets = np.cumsum([0, *map(len, waits)], dtype=np.int64)
        sizes = np.asarray(counts, np.int64)
        columns = {
            "step_phase": np.asarray([int(p) for p in phases]),
            "step_first_token": np.cumsum(sizes) - sizes,
            "step_token_count": sizes,
            "step_cache": np.broadcast_to(np.asarray(cache), n),
            "step_arrival_seconds": np.broadcast_to(np.asarray(arrival_seconds), n),
            "step_after_offsets": offsets,
            "step_after": np.asarray([s for wait in waits for s in wait], np.int32),
        }
        return cls.from_columns({name: to_stored(name, column, {}) for name, column in columns.items()})

    @property
    def tokens(self) -> int:
        """Tokens of all steps."""
        return int(self.token_count.sum(dtype=np.int64))

    def dependencies(self, step: int) -> NDArray[np.int32]:
        """Return the steps that ``step`` waits for."""
        offsets, indices = self.after
        return indices[offsets[step] : offsets[step + 1]]

    def of_token(self) -> NDArray[np.int64]:
        """Return the step of every token, [tokens]."""
        return np.repeat(np.arange(len(self)), self.token_count)

    def decoding(self) -> NDArray[np.bool_]:
        """Return which steps generate: decode or write."""
        return np.isin(self.phase, DECODE_PHASES)

    def columns(self) -> dict[str, Array]:
        """Return the arrays as a file holds them."""
        plain: dict[str, Array] = {
            f"step_{f.name}": getattr(self, f.name) for f in fields(self) if f.name != "after"
        }
        return plain | {"step_after_offsets": self.after[0], "step_after": self.after[1]}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays that ``columns`` returns."""
        return (
            *(f"step_{f.name}" for f in fields(cls) if f.name != "after"),
            "step_after_offsets",
            "step_after",
        )

    @classmethod
    def from_columns(cls, arrays: Mapping[str, Array]) -> "Steps":
        """Undo ``columns``."""
        plain: dict[str, Any] = {f.name: arrays[f"step_{f.name}"] for f in fields(cls) if f.name != "after"}
        return cls(**plain, after=(arrays["step_after_offsets"], arrays["step_after"]))

    def check(self) -> None:
        """Raise SpecError unless the steps number the tokens once each and wait only for earlier steps."""
        n = len(self)
        if not n:
            raise SpecError("the trace has no steps; expected at least one")
        _all(self.phase <= max(StepPhase), self.phase, "phase", f"0..{max(StepPhase)}")
        _all(self.token_count > 0, self.token_count, "token_count", "at least 1")
        ends = np.cumsum(self.token_count, dtype=np.int64)
        if ends[-1] >= 2**31:
            raise SpecError(f"the steps hold {ends[-1]} tokens; at most {2**31 - 1}")
        expected = ends - self.token_count
        _all(self.first_token == expected, self.first_token, "first_token", "the sum of the counts before it")
        arrival = self.arrival_seconds
        _all(np.isfinite(arrival) & (arrival >= 0), arrival, "arrival_seconds", "finite and not negative")
        self._check_after(n)

    def _check_after(self, n: int) -> None:
        offsets, indices = self.after
        check_offsets("step_after_offsets", offsets, len(indices))
        step = np.repeat(np.arange(n), np.diff(offsets))
        wrong = np.flatnonzero((indices < 0) | (indices >= step))
        if len(wrong):
            i = wrong[0]
            raise SpecError(f"step {step[i]} waits for step {indices[i]}; expected an earlier one")


def check_offsets(name: str, offsets: NDArray[np.int64], total: int) -> None:
    """Raise SpecError unless CSR ``offsets`` rise from 0 to ``total``."""
    if offsets[0] != 0 or offsets[-1] != total or np.any(np.diff(offsets) < 0):
        raise SpecError(f"array {name!r} must rise from 0 to {total}")


def _all(good: NDArray[np.bool_], values: Array, name: str, valid: str) -> None:
    wrong = np.flatnonzero(~good)
    if len(wrong):
        raise SpecError(f"step {wrong[0]}: {name} = {values[wrong[0]]}; expected {valid}")
