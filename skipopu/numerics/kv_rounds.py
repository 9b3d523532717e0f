"""K/V rounds of whole layers and traces: where tokens lie, and what their schedules amount to."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import jit
from skipopu.numerics.kv_schedule import (
    BUFFER,
    DONE,
    FORM,
    PASS,
    Limits,
    Placement,
    Schedule,
    begin,
    commit,
    form_round,
    new_schedule,
    next_step,
    pass_token,
    place_token,
)
from skipopu.spec.overlay import Overlay


def place(sources: NDArray[np.int16], ports: int, views: NDArray[np.bool_] | None = None) -> Placement:
    """Token-wise map: the executed tokens of a layer go round-robin over the ports.

    ``sources`` [layers, tokens]: layer whose K/V the token in each place of a layer's cache uses, −1 without one.
    ``views`` [views, tokens]: what reads may see, by default one that shows all. In the interleaved map every token
    lies in all ports alike: that is the token-wise map of one port, whose slots count the layer's tokens.
    """
    layers, tokens = sources.shape
    own = sources == np.arange(layers)[:, None]
    order = np.cumsum(own, axis=1) - 1
    token = np.arange(tokens)
    safe = np.maximum(sources, 0)
    order = order[safe, token]
    return Placement(
        sources.astype(np.int16), (order % ports).astype(np.int16), (order // ports).astype(np.int32),
        np.ones((1, tokens), np.bool_) if views is None else views,
    )  # fmt: skip


@jit
def schedule(
    limits: Limits, place: Placement, layer: int, tokens: int, usable: bool, track: bool, c: Schedule, view: int = 0
) -> int:
    """Form all rounds of the K (or V) of tokens [0, tokens) at ``layer`` and return their number."""
    begin(limits, c, layer, tokens, usable, track, view)
    step = next_step(limits, place, c)
    while step != DONE:
        if step == PASS:
            pass_token(c)
        elif step == FORM:
            form_round(limits, c)
        else:
            place_token(limits, c)
        step = next_step(limits, place, c)
    return c.s.rounds  # type: ignore[no-any-return]


class Passes(NamedTuple):
    """The row blocks of a trace in execution order, [passes] each; a layer's K/V schedule serves a pass."""

    step: NDArray[np.int64]  # the trace's step
    first: NDArray[np.int64]  # slot of the block's first row; slots count the rows of all blocks
    rows: NDArray[np.int64]  # rows of the block
    decode: NDArray[np.bool_]  # a decode pass uses the invariance buffer
    tokens: NDArray[np.int64]  # [slots]: the trace's token in each; in a trace without pruning its own number
    rank: NDArray[np.int64]  # [passes, layers]: place of the block's first token in the layer's cache
    present: NDArray[np.bool_]  # [passes, layers]: whether the block goes through the layer
    shown: NDArray[np.int64]  # [passes, layers]: which of the views its queries have
    ahead: NDArray[np.int64]  # [passes, layers]: places behind the block's last row that its queries see as well

    def counts(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Rows of each block that run in each layer, [passes, layers], of ``rows`` [layers, tokens]."""
        found = np.add.reduceat(rows[:, self.tokens].astype(np.int64), self.first, axis=1).T
        return np.where(self.present[:, : len(rows)], found, 0)

    def seen(self) -> NDArray[np.int64]:
        """Places of the cache up to the last row that each block sees, [passes, layers]."""
        return self.rank + self.rows[:, None] + self.ahead


class Demand(NamedTuple):
    """What the schedules of a trace amount to, [passes, layers] each; an entry is one token's K (or V)."""

    rounds: NDArray[np.int64]
    hbm_entries: NDArray[np.int64]
    buffer_entries: NDArray[np.int64]


def limits_of(overlay: Overlay, kv_token_bytes: int) -> Limits:
    """Bounds of a round on ``overlay``; ``kv_token_bytes`` is K plus V of one token in one layer."""
    b = overlay.kv_buffer
    return Limits(
        overlay.dma.hbm_ports, overlay.tokens_per_round, overlay.buffer_ports, overlay.buffer_tokens(kv_token_bytes),
        b.queue_depth, b.invalid_rounds == "lock_step", b.map == "interleaved",
    )  # fmt: skip


def demand(limits: Limits, place: Placement, passes: Passes, queries: NDArray[np.bool_]) -> Demand:
    """Schedule every pass and layer that has an executed query (``queries`` [layers, tokens]) once."""
    layers, places = place.source.shape
    executed, seen = passes.counts(queries) > 0, passes.seen()
    out = Demand(*(np.zeros((len(passes.step), layers), np.int64) for _ in Demand._fields))
    _demand(limits, place, passes, executed, seen, new_schedule(places, limits), out)
    return out


@jit
def _demand(
    limits: Limits, place: Placement, passes: Passes, executed: Any, seen: Any, c: Schedule, out: Demand
) -> None:
    for p in range(len(passes.step)):
        valid = False
        for layer in range(place.source.shape[0]):
            if not executed[p, layer]:
                valid = False
                continue
            decode = passes.decode[p]
            usable, shown = valid and decode, passes.shown[p, layer]
            out.rounds[p, layer] = schedule(limits, place, layer, seen[p, layer], usable, decode, c, shown)
            for entry in range(c.s.entries):
                if c.port[entry] == BUFFER:
                    out.buffer_entries[p, layer] += 1
                else:
                    out.hbm_entries[p, layer] += 1
            if decode:
                commit(c)
            valid = decode and limits.capacity > 0
