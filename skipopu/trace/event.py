"""Events: what happens to tokens and caches besides running rows through layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.arrays import ARRAYS, Array
from skipopu.trace.check import in_range
from skipopu.trace.steps import check_offsets
from skipopu.trace.vocabulary import EventKind, ScoreOp

COLUMNS = ("kind", "step", "layer", "cache", "op", "rows", "keys", "k", "outcome")
# the fields a kind needs; the others keep their defaults
NEEDS: Mapping[EventKind, tuple[str, ...]] = {
    EventKind.INSERT: ("layer", "kept"),
    EventKind.PRUNE: ("layer", "rows", "kept"),
    EventKind.EXIT: ("layer", "rows"),
    EventKind.KV_POP: ("cache", "rows"),
    EventKind.EARLY_EXIT: ("layer",),
    EventKind.SCORE_OP: ("layer", "op", "rows", "keys"),
    EventKind.DECISION_OP: ("outcome",),
    EventKind.PREFIX_REUSE: ("cache", "rows"),
    EventKind.FUSE: ("rows", "k", "outcome"),
}
OPTIONAL: Mapping[EventKind, tuple[str, ...]] = {
    EventKind.SCORE_OP: ("k",),
    EventKind.EXIT: ("kept",),
    EventKind.FUSE: ("layer",),
}
# after these a token has no rows in some layers although nobody skipped it
ABSENCES = (EventKind.INSERT, EventKind.PRUNE, EventKind.EXIT, EventKind.EARLY_EXIT)


@dataclass(frozen=True)
class Event:
    """One event; it takes effect before ``step``, or within it at the entry of ``layer`` unless that is −1.

    ``kept`` holds token numbers. See EventKind for what the other fields mean to each kind.
    """

    kind: EventKind
    step: int
    layer: int = -1
    cache: int = -1
    op: ScoreOp = ScoreOp.NONE
    rows: int = 0
    keys: int = 0
    k: int = 0
    outcome: int = -1
    kept: tuple[int, ...] = ()

    def check(self, steps: int, layers: int, tokens: int, caches: Sequence[int]) -> None:
        """Raise SpecError unless the event has the fields of its kind, each in range."""
        self._check_fields()
        bounds = {"step": (0, steps - 1), "layer": (-1, layers - 1), "outcome": (-1, 1)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise SpecError(f"{self}: {name} must be in {low}..{high}")
        if self.cache != -1 and self.cache not in caches:
            raise SpecError(f"{self}: cache must be one of {', '.join(map(str, caches))}")
        kept = np.asarray(self.kept, np.int64)
        if np.any(np.diff(kept) <= 0) or np.any((kept < 0) | (kept >= tokens)):
            raise SpecError(f"{self}: kept must be token numbers in rising order, 0..{tokens - 1}")
        if self.kind is EventKind.PRUNE and len(kept) > self.rows:
            raise SpecError(
                f"{self}: keeps {len(kept)} of {self.rows} tokens; rows counts those before pruning"
            )

    def _check_fields(self) -> None:
        needed = NEEDS[self.kind]
        allowed = (*needed, *OPTIONAL.get(self.kind, ()))
        for name in (*COLUMNS[2:], "kept"):
            given = getattr(self, name) != getattr(Event, name)
            if given and name not in allowed:
                raise SpecError(f"{self}: {name} means nothing here; expected only {', '.join(allowed)}")
            if not given and name in needed and not (name == "kept" and self.kind is EventKind.PRUNE):
                raise SpecError(f"{self}: {name} is missing; expected {', '.join(needed)}")
            if name in ("rows", "keys", "k"):
                in_range(f"{self}: {name}", getattr(self, name), 0, 2**31 - 1)

    def __str__(self) -> str:
        return f"event {self.kind.name.lower()} at step {self.step}"


def to_columns(events: Sequence[Event]) -> dict[str, Array]:
    """Return the event table as a file holds it; no events, no arrays."""
    if not events:
        return {}
    table: dict[str, Array] = {}
    for name in COLUMNS:
        array = f"event_{name}"
        table[array] = np.asarray([int(getattr(e, name)) for e in events], ARRAYS[array].dtype)
    table["event_kept_offsets"] = np.cumsum([0, *(len(e.kept) for e in events)], dtype=np.int64)
    table["event_kept"] = np.asarray([t for e in events for t in e.kept], np.int32)
    return table


def from_columns(arrays: Mapping[str, Array]) -> tuple[Event, ...]:
    """Undo ``to_columns``; unknown kinds and incomplete tables raise SpecError."""
    present = [name for name in arrays if name.startswith("event_")]
    if not present:
        return ()
    for name in (*(f"event_{c}" for c in COLUMNS), "event_kept_offsets", "event_kept"):
        if name not in arrays:
            raise SpecError(
                f"array {name!r} is missing beside {present[0]!r}; an event table needs all its columns"
            )
    check_offsets("event_kept_offsets", arrays["event_kept_offsets"], len(arrays["event_kept"]))
    _check_words(arrays["event_kind"], "event_kind", len(EventKind))
    _check_words(arrays["event_op"], "event_op", len(ScoreOp))
    kept = np.split(arrays["event_kept"], arrays["event_kept_offsets"][1:-1])
    rows = zip(*(arrays[f"event_{c}"].tolist() for c in COLUMNS), strict=True)
    return tuple(
        Event(EventKind(kind), step, layer, cache, ScoreOp(op), n, keys, k, outcome, tuple(tokens.tolist()))
        for (kind, step, layer, cache, op, n, keys, k, outcome), tokens in zip(rows, kept, strict=True)
    )


def _check_words(column: Array, name: str, count: int) -> None:
    if np.any(column >= count):
        raise SpecError(f"array {name!r} holds {column.max()}; expected 0..{count - 1}")
