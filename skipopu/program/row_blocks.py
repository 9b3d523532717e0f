"""Row blocks: in which groups of rows the tokens of each step go through each layer.

A block is a run of neighbouring rows of the residual stream that lie in DDR4 as one and do the same in every layer
they are in. Where routers decide, all of a step's tokens do the same: what each of them executes is a matter of its
gate. Where a method itself says which tokens are in a layer (visual tokens that enter late, are pruned, or are keys
only), blocks end where that changes; tokens that stay when others of their block leave are gathered into new blocks.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import Passes
from skipopu.program.joints import joined_rows
from skipopu.trace import EventKind, StepPhase, Trace
from skipopu.trace.steps import DECODE_PHASES

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
REGROUPING = (EventKind.INSERT, EventKind.PRUNE, EventKind.EXIT)


class _Block(NamedTuple):
    """Tokens of a step that go through layers [first, end) together."""

    tokens: tuple[int, ...]
    first: int
    end: int


def row_blocks(trace: Trace, row_block: int) -> Passes:
    """Return the blocks of all steps, of at most ``row_block`` rows, in execution order."""
    active = active_rows(trace)
    step, blocks, decode = [], [], []
    for s in range(len(trace.steps)):
        for block in _of_step(trace, active, s, row_block):
            step.append(s)
            blocks.append(block)
            decode.append(trace.steps.token_count[s] == 1 and trace.steps.phase[s] in DECODE_PHASES)
    rows = np.array([len(block.tokens) for block in blocks], np.int64)
    tokens = np.array([t for block in blocks for t in block.tokens], np.int64)
    first = np.cumsum(rows) - rows
    layers = np.arange(trace.layers)
    span = np.array([(layers >= b.first) & (layers < b.end) for b in blocks], np.bool_).reshape(-1, trace.layers)
    present, rank = span & active[:, tokens[first]].T, _ranks(trace, active, tokens[first])
    end = np.where(present, rank + rows[:, None], 0)
    return Passes(
        np.array(step, np.int64), first, rows, np.array(decode, np.bool_), tokens, rank, present,
        np.zeros(present.shape, np.int64), _ahead(trace, np.array(step, np.int64), end),
    )  # fmt: skip


def active_rows(trace: Trace) -> Bools:
    """Return which tokens are in each layer, [layers, tokens]: they run something there, or a router decides.

    Without routers a token that runs nothing in a layer passes it by, and no block has it.
    """
    if trace.header.router.kind == "none":
        return trace.rows("q") | trace.rows("kv") | trace.rows("ffn")
    active = np.ones((trace.layers, trace.tokens), np.bool_)
    for event in trace.events:
        if event.kind is EventKind.EARLY_EXIT:
            first = int(trace.steps.first_token[event.step])
            active[event.layer :, first : first + int(trace.steps.token_count[event.step])] = False
    return active


def prefix(trace: Trace) -> int:
    """Entries of all caches from before the trace: the first places of every layer's cache."""
    return sum(cache.prefix_hit for cache in trace.header.caches)


def _ranks(trace: Trace, active: Bools, first: Ints) -> Ints:
    """Place of each block's first token in the cache of every layer, [blocks, layers]."""
    before: Ints = prefix(trace) + np.cumsum(active, axis=1) - active
    return before[:, first].T


def _ahead(trace: Trace, step: Ints, end: Ints) -> Ints:
    """Places behind each block's ``end`` [blocks, layers] that it sees: in an encode step, those of later rows."""
    found = np.zeros_like(end)
    for encode in np.flatnonzero(trace.steps.phase == StepPhase.ENCODE):
        own = end[step == encode]
        found[step == encode] = np.where(own > 0, own.max(axis=0) - own, 0)
    return found


def _of_step(trace: Trace, active: Bools, step: int, row_block: int) -> Iterator[_Block]:
    """Blocks of one step: of its first group of layers, then of the next; those that go on as they are come once."""
    start, count = int(trace.steps.first_token[step]), int(trace.steps.token_count[step])
    runs = _runs(trace, active, start, count)
    last: dict[tuple[int, ...], _Block] = {}
    found: list[_Block] = []
    for first, end in _epochs(trace, step):
        now: dict[tuple[int, ...], _Block] = {}
        for tokens in _groups(trace, active, range(start, start + count), runs, first, end, row_block):
            before = last.get(tokens)
            block = _Block(tokens, before.first if before else first, end)
            if before:
                found[found.index(before)] = block
            else:
                found.append(block)
            now[tokens] = block
        last = now
    yield from found


def _epochs(trace: Trace, step: int) -> list[tuple[int, int]]:
    """Groups of layers between which tokens enter or leave."""
    cuts = {e.layer for e in trace.events if e.step == step and e.kind in REGROUPING and e.layer > 0}
    edges = [0, *sorted(cuts), trace.layers]
    return list(pairwise(edges))


def _signature(trace: Trace, active: Bools, first: int, end: int) -> Bools:
    """What each token does in layers [first, end) whatever a router decides, [bits, tokens]."""
    joined = joined_rows(trace)[first:end]
    if trace.header.router.kind != "none":
        return np.concatenate([active[first:end], joined])
    return np.concatenate([*(trace.rows(kind)[first:end] for kind in ("q", "kv", "ffn")), joined])


def _runs(trace: Trace, active: Bools, start: int, count: int) -> Ints:
    """Number of the run of each token of a step: a segment, or segments whose tokens do the same in all layers."""
    does = _signature(trace, active, 0, trace.layers)[:, start : start + count]
    segment = np.zeros(count, np.int64)
    for number, s in enumerate(trace.header.segments):
        segment[max(s.first - start, 0) : max(s.first + s.count - start, 0)] = number
    breaks = (np.diff(segment) != 0) & (does[:, 1:] != does[:, :-1]).any(axis=0)
    return np.concatenate([[0], np.cumsum(breaks)])


def _groups(
    trace: Trace, active: Bools, tokens: range, runs: Ints, first: int, end: int, row_block: int
) -> Iterator[tuple[int, ...]]:
    """Tokens that are in layers [first, end), in runs that do the same there, cut into blocks."""
    does = _signature(trace, active, first, end)
    there = [t for t in tokens if active[first:end, t].any()]
    parted = [i + 1 for i, pair in enumerate(pairwise(there)) if _parted(does, runs, *pair, tokens[0])]
    for begin, after in pairwise([0, *parted, len(there)]):
        for cut in range(begin, after, row_block):
            yield tuple(there[cut : min(cut + row_block, after)])


def _parted(does: Bools, runs: Ints, one: int, other: int, start: int) -> bool:
    """Neighbours cannot be in one block."""
    return bool(runs[one - start] != runs[other - start] or np.any(does[:, one] != does[:, other]))


def in_layer(passes: Passes, blocks: Sequence[int], layer: int) -> list[int]:
    """Those of ``blocks`` that go through ``layer``, in the order of their tokens."""
    here = [p for p in blocks if passes.present[p, layer]]
    return sorted(here, key=lambda p: int(passes.tokens[passes.first[p]]))
