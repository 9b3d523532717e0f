"""The round list of one decode step: what each round takes from where, and what of it is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from skipopu.numerics.kv_rounds import schedule
from skipopu.numerics.kv_schedule import BUFFER, NONE, Schedule, commit, new_schedule
from skipopu.program.context import Context
from skipopu.sim.kv_stream import executed_layers

LEGEND = (
    "n pP: token n from HBM port P; n bB: from buffer port B; n all: from all HBM ports (interleaved map)",
    "(L): K/V of layer L, where the token last executed; without it, of this layer; *: kept for the next layer",
)


class Entry(NamedTuple):
    """One token of a round."""

    token: int
    source: int  # layer whose K/V it is
    port: int  # HBM port; BUFFER; NONE is the same number and does not occur
    bank: int  # buffer port it is read from, or NONE
    kept: int  # buffer port it is written to, or NONE


@dataclass(frozen=True)
class LayerRounds:
    """The schedule of one layer, which K and V go through alike."""

    layer: int
    executed: bool  # else the query token skips attention here: nothing is read, the buffer is invalid from here on
    buffered: bool  # there is an invariance buffer
    valid: bool  # it could be used
    rounds: tuple[tuple[Entry, ...], ...]

    @property
    def state(self) -> str:
        """Of the layer, in two words; none if nothing can be said."""
        if not self.executed:
            return "query skipped"
        return ("buffer valid" if self.valid else "buffer invalid") if self.buffered else ""

    @property
    def entries(self) -> int:
        """Tokens of all rounds."""
        return sum(map(len, self.rounds))

    @property
    def hits(self) -> int:
        """Tokens from the buffer."""
        return sum(entry.port == BUFFER for members in self.rounds for entry in members)


def rounds_of(context: Context, index: int, layers: Sequence[int]) -> list[LayerRounds]:
    """Return the schedules of ``layers`` in pass ``index`` of the context."""
    c = new_schedule(context.placement.source.shape[1], context.limits)
    ran, passes = executed_layers(context)[index], context.passes
    decode, shown, seen = bool(passes.decode[index]), passes.shown[index], passes.seen()[index]
    found, valid, buffered = [], False, context.limits.capacity > 0
    for layer in range(max(layers) + 1):
        rounds: tuple[tuple[Entry, ...], ...] = ()
        if ran[layer]:
            schedule(context.limits, context.placement, layer, int(seen[layer]), valid, decode, c, int(shown[layer]))
            rounds = tuple(_rounds(context, c, layer))
            if decode:
                commit(c)
        if layer in layers:
            found.append(LayerRounds(layer, bool(ran[layer]), buffered, valid and bool(ran[layer]), rounds))
        valid = bool(ran[layer]) and decode and buffered
    return found


def _rounds(context: Context, c: Schedule, layer: int) -> Iterator[tuple[Entry, ...]]:
    banks = max(context.limits.buffer_ports, 1)
    for r in range(int(c.s.rounds)):
        yield tuple(
            Entry(
                int(c.token[e]), int(context.placement.source[layer, c.token[e]]), int(c.port[e]),
                *(NONE if number == NONE else int(number) % banks for number in (c.read[e], c.kept[e])),
            )
            for e in range(int(c.first[r]), int(c.first[r + 1]))
        )  # fmt: skip


def listed(found: LayerRounds, spread: bool) -> Iterator[str]:
    """Yield the layer's schedule as lines of text; ``spread``: the map is interleaved."""
    if not found.executed:
        after = ", the buffer becomes invalid" if found.buffered else ""
        yield f"layer {found.layer}: the query token skips attention; nothing is read{after}"
        return
    state = f"{found.state}, " if found.state else ""
    hits = f", {found.hits} from the buffer" if found.buffered else ""
    yield f"layer {found.layer}: {state}{len(found.rounds)} rounds, {found.entries} tokens{hits}"
    width = len(str(len(found.rounds)))
    for number, members in enumerate(found.rounds):
        yield f"  round {number:{width}}: " + ", ".join(_spelled(entry, found.layer, spread) for entry in members)


def _spelled(entry: Entry, layer: int, spread: bool) -> str:
    place = f"b{entry.bank}" if entry.port == BUFFER else "all" if spread else f"p{entry.port}"
    older = "" if entry.source == layer else f" ({entry.source})"
    return f"{entry.token} {place}{older}{'' if entry.kept == NONE else '*'}"


def columns(found: LayerRounds) -> dict[str, Any]:
    """Return the schedule as `kv.json` has it: a column a field, an entry a token, rounds in order."""
    entries = [(number, *entry) for number, members in enumerate(found.rounds) for entry in members]
    names = ("round", "token", "source_layer", "hbm_port", "buffer_port", "kept_in")
    values = zip(*entries, strict=True) if entries else [()] * len(names)
    table = {name: list(column) for name, column in zip(names, values, strict=True)}
    return {"layer": found.layer, "executed": found.executed, "buffer_valid": found.valid} | table
