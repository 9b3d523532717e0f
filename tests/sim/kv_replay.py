"""K/V schedules with data: HBM and the buffer's banks as dictionaries of what was written where."""

from typing import Any

import numpy as np

from skipopu.numerics.kv_rounds import schedule
from skipopu.numerics.kv_schedule import (
    BUFFER,
    DONE,
    FORM,
    NONE,
    PASS,
    Schedule,
    begin,
    commit,
    form_round,
    new_schedule,
    next_step,
    pass_token,
    place_token,
)
from skipopu.program.context import Context
from skipopu.sim.kv_stream import executed_layers

Value = tuple[str, int, int]  # K or V, layer it was projected in, token


class BrokenReadError(AssertionError):
    """A read that did not return what was written, or a round that asks the impossible."""


class Memory:
    """Places that hold one value each; HBM's are written once, a bank's are written over."""

    def __init__(self) -> None:
        self.values: dict[Any, Value] = {}

    def write_once(self, place: Any, value: Value) -> None:
        if place in self.values:
            raise BrokenReadError(f"{place} holds {self.values[place]} already, not {value}")
        self.values[place] = value

    def read(self, place: Any, expected: Value) -> None:
        if self.values.get(place) != expected:
            raise BrokenReadError(f"{place} holds {self.values.get(place)}, expected {expected}")


def replay(context: Context) -> int:
    """Run every decode pass on data and check each value read; return the entries that came from the buffer."""
    hbm, c = _written(context), new_schedule(context.trace.tokens, context.limits)
    ran, hits = executed_layers(context), 0
    for index in np.flatnonzero(context.passes.decode).tolist():
        banks, valid = Memory(), False
        for layer in range(context.trace.layers):
            if not ran[index, layer]:
                valid = False
                continue
            hits += _layer(context, c, hbm, banks, layer, _tokens(context, index), valid)
            commit(c)
            valid = context.limits.capacity > 0
    return hits


def _tokens(context: Context, index: int) -> int:
    return int(context.passes.first[index] + context.passes.rows[index])


def _written(context: Context) -> Memory:
    """Every projected K and V in its place."""
    hbm, where = Memory(), context.placement
    for layer, token in np.argwhere(context.trace.rows("kv")).tolist():
        for kind in ("K", "V"):
            hbm.write_once((kind, layer, int(where.port[layer, token]), int(where.slot[layer, token])),
                           (kind, layer, token))  # fmt: skip
    return hbm


def _layer(context: Context, c: Schedule, hbm: Memory, banks: Memory, layer: int, tokens: int, valid: bool) -> int:
    """Read K, then V, by the same rounds; return the entries of one of them that came from the buffer."""
    lists = []
    for kind in ("K", "V"):
        schedule(context.limits, context.placement, layer, tokens, valid, True, c)
        rounds = _rounds(c)
        lists.append(rounds)
        _once(context, rounds, layer, tokens)
        for members in rounds:
            _round(context, hbm, banks, layer, kind, members)
    if lists[0] != lists[1]:
        raise BrokenReadError(f"layer {layer}: K and V come in different orders")
    return sum(port == BUFFER for members in lists[0] for _, port, _, _ in members)


def _rounds(c: Schedule) -> list[list[tuple[int, ...]]]:
    rows = list(zip(c.token.tolist(), c.port.tolist(), c.read.tolist(), c.kept.tolist(), strict=True))
    return [rows[c.first[r] : c.first[r + 1]] for r in range(c.s.rounds)]


def _once(context: Context, rounds: list[list[tuple[int, ...]]], layer: int, tokens: int) -> None:
    visible = np.flatnonzero(context.placement.source[layer, :tokens] >= 0).tolist()
    if sorted(token for members in rounds for token, _, _, _ in members) != visible:
        raise BrokenReadError(f"layer {layer}: not every visible token is in exactly one round")


def _round(context: Context, hbm: Memory, banks: Memory, layer: int, kind: str, members: list[tuple[int, ...]]) -> None:
    """Read all, then write what is kept: a round's chunk is read before the same chunk is written over."""
    where, limits = context.placement, context.limits
    kept = []
    for token, port, read, keep in members:
        source = int(where.source[layer, token])
        value = kind, source, token
        if port == BUFFER:
            banks.read((kind, *_bank(context, read)), value)
        else:
            hbm.read((kind, source, port, int(where.slot[layer, token])), value)
        if keep != NONE:
            kept.append(((kind, *_bank(context, keep)), value))
    ports = [port for _, port, _, _ in members if port != BUFFER]
    reads = [read % limits.buffer_ports for _, port, read, _ in members if port == BUFFER]
    writes = [place[1] for place, _ in kept]
    for lanes in ([] if limits.spread else ports, reads, writes):
        if len(set(lanes)) < len(lanes):
            raise BrokenReadError(f"layer {layer}: a round uses a port twice")
    if not 0 < len(members) <= limits.tokens:
        raise BrokenReadError(f"layer {layer}: a round of {len(members)} tokens, at most {limits.tokens}")
    banks.values.update(kept)


def _bank(context: Context, number: int) -> tuple[int, int]:
    """Bank and slot of a ring number."""
    banks = context.limits.buffer_ports
    return number % banks, number // banks % (context.limits.capacity // banks)


def longest_wait(context: Context) -> int:
    """Rounds formed while one token stood at the head of its port's queue, in any layer of the last decode step."""
    c, index = new_schedule(context.trace.tokens, context.limits), len(context.passes.step) - 1
    return max((_waits(context, c, layer, _tokens(context, index)) for layer in range(context.trace.layers)), default=0)


def _waits(context: Context, c: Schedule, layer: int, tokens: int) -> int:
    """The longest wait in one layer whose buffer is invalid."""
    limits, where = context.limits, context.placement
    begin(limits, c, layer, tokens, False, True)
    waited, longest = np.zeros(limits.ports, np.int64), 0
    while (step := next_step(limits, where, c)) != DONE:
        if step == FORM:
            standing = c.head.copy()
            waited += c.tail > standing
            form_round(limits, c)
            longest = max(longest, int(waited.max()))
            waited[c.head != standing] = 0
        else:
            (pass_token if step == PASS else _place(limits))(c)
    return longest


def _place(limits: Any) -> Any:
    return lambda c: place_token(limits, c)
