"""How many keys each query of a trace reads: the one quantity that depends on the history of the caches."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipopu.trace.arrays import Bools
from skipopu.trace.header import Cache
from skipopu.trace.schema import Trace
from skipopu.trace.vocabulary import EventKind, StepPhase

Counts = NDArray[np.int64]


@dataclass
class Slots:
    """One cache as the steps pass: ``prefix`` slots from before the trace, then one slot a token.

    ``held`` counts the entries of each layer, [layers]; a slot has none where its K/V row did not run.
    """

    prefix: int
    held: Counts
    tokens: list[int] = field(default_factory=list)

    def append(self, tokens: range, entries: Bools) -> None:
        """Add the tokens of a step."""
        self.tokens.extend(tokens)
        self.held = self.held + _present(entries, list(tokens))

    def pop(self, slots: int, entries: Bools) -> None:
        """Drop the newest ``slots``."""
        older = max(0, slots - len(self.tokens))
        kept = len(self.tokens) - (slots - older)
        self.held = self.held - _present(entries, self.tokens[kept:]) - older
        self.tokens, self.prefix = self.tokens[:kept], self.prefix - older

    def count(self, first: int, slots: int, entries: Bools, layers: list[int]) -> Counts:
        """Return the entries in ``slots`` slots from ``first`` on, one figure for each of ``layers``."""
        if first == 0 and slots == self.prefix + len(self.tokens):
            return self.held[layers]
        end = first + slots
        older = max(0, min(end, self.prefix) - first)
        tokens = self.tokens[max(0, first - self.prefix) : max(0, end - self.prefix)]
        return older + _present(entries[layers], tokens)


@dataclass(frozen=True)
class Moment:
    """The caches by id as ``step`` finds them, and the tokens it is about to append."""

    step: int
    tokens: slice
    caches: dict[int, Slots]


def walk(trace: Trace) -> Iterator[Moment]:
    """Yield each step with the caches as it finds them."""
    entries, pops = visible_entries(trace), _pops(trace)
    caches = {c.id: Slots(c.prefix_hit, np.full(trace.layers, c.prefix_hit)) for c in trace.header.caches}
    for step, (first, count) in enumerate(zip(trace.steps.first_token, trace.steps.token_count, strict=True)):
        for cache, rows in pops.get(step, ()):
            caches[cache].pop(rows, entries)
        yield Moment(step, slice(int(first), int(first + count)), caches)
        caches[int(trace.steps.cache[step])].append(range(int(first), int(first + count)), entries)


def keys_per_query(trace: Trace) -> Counts:
    """Return the keys that a query of each token would read in each layer, [layers, tokens].

    A query reads what its step's cache held before (where the trace has ``kv_read``: the slots listed
    there, and no others), and of its own step the entries up to itself, or all of them in an encode step.
    Under ``reuse_last`` every token has an entry in every layer, otherwise those whose K/V row ran. A
    window mask bounds the count; the other mask classes change what a key contributes, not whether it is
    read.
    """
    entries = visible_entries(trace)
    counts = np.empty(entries.shape, np.int64)
    for moment in walk(trace):
        own = entries[:, moment.tokens]
        encode = trace.steps.phase[moment.step] == StepPhase.ENCODE
        inside = own.sum(axis=1, keepdims=True) if encode else np.cumsum(own, axis=1)
        counts[:, moment.tokens] = _older(trace, moment, entries)[:, None] + inside
    return _windowed(trace, counts)


def visible_entries(trace: Trace) -> Bools:
    """Return which tokens have an entry in the cache of each layer, [layers, tokens]."""
    kv = trace.rows("kv")
    return np.ones_like(kv) if trace.header.kv_policy == "reuse_last" else kv


def slots_before(trace: Trace, cache: Cache) -> Counts:
    """Return the slots of ``cache`` in use when each step starts, [steps]; negative where too many went."""
    appended = np.where(trace.steps.cache == cache.id, trace.steps.token_count, 0).astype(np.int64)
    popped = np.zeros(len(trace.steps), np.int64)
    for step, pops in _pops(trace).items():
        popped[step] = sum(rows for popped_cache, rows in pops if popped_cache == cache.id)
    return np.cumsum(appended) - appended - np.cumsum(popped) + cache.prefix_hit


def _present(entries: Bools, tokens: list[int]) -> Counts:
    return np.asarray(entries[:, tokens].sum(axis=1, dtype=np.int64))


def _older(trace: Trace, moment: Moment, entries: Bools) -> Counts:
    offsets, ranges = trace.arrays.get("kv_read_offsets"), trace.arrays.get("kv_read")
    if offsets is None or ranges is None:
        return moment.caches[int(trace.steps.cache[moment.step])].held
    older, alike = np.zeros(trace.layers, np.int64), dict[bytes, list[int]]()
    for layer in range(trace.layers):
        at = moment.step * trace.layers + layer
        alike.setdefault(ranges[offsets[at] : offsets[at + 1]].tobytes(), []).append(layer)
    for listed, layers in alike.items():
        for cache, first, n in np.frombuffer(listed, ranges.dtype).reshape(-1, 3).tolist():
            older[layers] += moment.caches[cache].count(first, n, entries, layers)
    return older


def _pops(trace: Trace) -> dict[int, list[tuple[int, int]]]:
    pops: dict[int, list[tuple[int, int]]] = {}
    for event in trace.events:
        if event.kind is EventKind.KV_POP:
            pops.setdefault(event.step, []).append((event.cache, event.rows))
    return pops


def _windowed(trace: Trace, counts: Counts) -> Counts:
    windows = trace.arrays.get("mask_window")
    if windows is None:
        return counts
    bound = np.where(windows > 0, windows.astype(np.int64), np.iinfo(np.int64).max)
    return np.minimum(counts, bound[:, None])
