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


def place(sources: NDArray[np.int16], ports: int) -> Placement:
    """Token-wise map: the executed tokens of a layer go round-robin over the ports.

    ``sources`` [layers, tokens] as `Trace.kv_source_layers` returns it. In the interleaved map every token lies in all
    ports alike: that is the token-wise map of one port, whose slots count the layer's tokens.
    """
    layers, tokens = sources.shape
    own = sources == np.arange(layers)[:, None]
    order = np.cumsum(own, axis=1) - 1
    token = np.arange(tokens)
    safe = np.maximum(sources, 0)
    order = order[safe, token]
    return Placement(
        sources.astype(np.int16), (order % ports).astype(np.int16), (order // ports).astype(np.int32)
    )


@jit
def schedule(
    limits: Limits, place: Placement, layer: int, tokens: int, usable: bool, track: bool, c: Schedule
) -> int:
    """Form all rounds of the K (or V) of tokens [0, tokens) at ``layer`` and return their number."""
    begin(limits, c, layer, tokens, usable, track)
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
    first: NDArray[np.int64]  # first token of the block
    rows: NDArray[np.int64]  # tokens of the block
    decode: NDArray[np.bool_]  # a decode pass uses the invariance buffer


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
    layers, tokens = queries.shape
    counts = np.concatenate([np.zeros((layers, 1), np.int64), np.cumsum(queries, axis=1)], axis=1)
    executed = (counts[:, passes.first + passes.rows] - counts[:, passes.first]).T > 0
    out = Demand(*(np.zeros((len(passes.step), layers), np.int64) for _ in Demand._fields))
    _demand(limits, place, passes, executed, new_schedule(tokens, limits), out)
    return out


@jit
def _demand(
    limits: Limits, place: Placement, passes: Passes, executed: Any, c: Schedule, out: Demand
) -> None:
    for p in range(len(passes.step)):
        valid = False
        for layer in range(place.source.shape[0]):
            if not executed[p, layer]:
                valid = False
                continue
            decode = passes.decode[p]
            seen = passes.first[p] + passes.rows[p]
            out.rounds[p, layer] = schedule(limits, place, layer, seen, valid and decode, decode, c)
            for entry in range(c.s.entries):
                if c.port[entry] == BUFFER:
                    out.buffer_entries[p, layer] += 1
                else:
                    out.hbm_entries[p, layer] += 1
            if decode:
                commit(c)
            valid = decode and limits.capacity > 0
