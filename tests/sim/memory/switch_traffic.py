"""Drives a switched HBM with lists of bursts and writes down all that comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from switch_oracle import NaiveSwitch

from skipopu.numerics.jit import jit
from skipopu.sim.dram import Dram, free_slots, new_dram
from skipopu.sim.dram import push as push_to_dram
from skipopu.sim.dram import tick as tick_dram
from skipopu.sim.hbm_switch import accepts, new_switched_hbm, push, tick
from skipopu.sim.hbm_switch_state import SwitchedHbm
from skipopu.spec.board import Board
from skipopu.spec.memory import Memory

Ints = NDArray[np.int64]
Arrival = tuple[int, int, str, int, bool]  # tick, port, "beat" or "response", tag, last
SMALL = (  # 8 ports in 4 mini-switches and 2 stacks: short runs see every kind of path
    "hbm.channels=8", "hbm_switch.mini_switch_ports=2", "hbm_switch.stack_ports=4", "hbm.timing.tREFI=1100",
)  # fmt: skip


class Burst(NamedTuple):
    """One AXI burst, offered by its port from tick ``start`` on, behind those before it in the list."""

    start: int
    port: int
    channel: int
    offset: int
    beats: int
    is_write: bool = False
    identifier: int = 0


@dataclass(frozen=True)
class Seen:
    """What the ports saw: tick in which each burst was accepted (−1: never) and everything that arrived."""

    accepted: list[int]
    arrivals: list[Arrival]
    hbm: SwitchedHbm


@cache
def switched(*settings: str) -> Board:
    """The U280 with its switch on."""
    return Board.load("u280", ("hbm_switch.enabled=true", *settings))


@jit
def _drive(h: SwitchedHbm, rows: Ints, first: Ints, accepted: Ints, seen: Ints, always_first: bool) -> None:
    """``rows`` [burst] sorted by port, port p's from ``first[p]`` on; ``seen`` [tick, port, (beat, response)]."""
    for now in range(len(seen)):
        if always_first:
            h.outputs.turn[:] = 0
        for port in range(len(first) - 1):
            for _ in range(2):  # one read and one write
                i = first[port]
                while i < first[port + 1] and accepted[i] >= 0:
                    i += 1
                if i == first[port + 1] or rows[i, 0] > now:
                    break
                if accepts(h, port, rows[i, 2], rows[i, 4] != 0, rows[i, 5], now):
                    push(h, port, rows[i, 2], rows[i, 3], rows[i, 4] != 0, rows[i, 5], i, now)
                    accepted[i] = now
        tick(h, now)
        for port in range(len(first) - 1):
            seen[now, port, 0] = h.ports[port].beat
            seen[now, port, 1] = h.ports[port].response


def drive(
    board: Board,
    bursts: list[Burst],
    until: int,
    *,
    fault: Callable[[SwitchedHbm], object] = lambda _: None,
    always_first: bool = False,
) -> Seen:
    """Run for ``until`` ticks. ``bursts`` are sorted by port; ``fault`` and ``always_first`` break the model."""
    h = new_switched_hbm(board)
    fault(h)
    size = board.hbm.capacity_bytes
    rows = np.array([(b.start, b.port, b.channel * size + b.offset, *b[4:]) for b in bursts], np.int64).reshape(-1, 6)
    first = np.searchsorted(rows[:, 1], np.arange(board.hbm.channels + 1))
    accepted = np.full(len(bursts), -1, np.int64)
    seen = np.full((until, board.hbm.channels, 2), -1, np.int64)
    _drive(h, rows, first, accepted, seen, always_first)
    return Seen(accepted.tolist(), _arrivals(seen), h)


@jit
def _drive_dram(d: Dram, rows: Ints, channel: int, accepted: Ints, seen: Ints) -> None:
    """One channel without a switch; ``rows`` of its own bursts as in `_drive`."""
    c = d.channels[channel]
    pushed = 0
    for now in range(len(seen)):
        taken = -1  # is_write of the burst accepted in this tick
        while pushed < len(rows) and rows[pushed, 0] <= now and rows[pushed, 4] != taken:
            if free_slots(d, channel) == 0 or (pushed > 1 and accepted[pushed - 2] == now):
                break
            push_to_dram(d, channel, rows[pushed, 2], rows[pushed, 3], rows[pushed, 4] != 0, pushed, now)
            taken = rows[pushed, 4]
            accepted[pushed] = now
            pushed += 1
        before = c.write_responses
        seen[now, 0] = tick_dram(d, channel, now)
        seen[now, 1] = c.write_responses - before


def drive_alone(memory: Memory, bursts: list[Burst], until: int) -> tuple[list[int], list[Arrival]]:
    """Accept ticks and arrivals of the same bursts, each port's in its own channel of ``memory``, without a switch."""
    dram = new_dram(memory)
    accepted: list[int] = []
    arrivals: list[Arrival] = []
    for port in range(memory.channels):
        mine = [i for i, b in enumerate(bursts) if b.port == port]
        rows = np.array([(b.start, port, b.offset, *b[4:]) for b in bursts if b.port == port], np.int64).reshape(-1, 6)
        took, seen = np.full(len(mine), -1, np.int64), np.full((until, 2), -1, np.int64)
        _drive_dram(dram, rows, port, took, seen)
        accepted += took.tolist()
        codes = [(now, int(seen[now, 0])) for now in np.flatnonzero(seen[:, 0] >= 0).tolist()]
        arrivals += [(now, port, "beat", mine[code >> 1], bool(code & 1)) for now, code in codes]
        writes = (i for i in mine if bursts[i].is_write)
        arrivals += [(now, port, "response", next(writes), True) for now in np.flatnonzero(seen[:, 1] > 0).tolist()]
    return accepted, sorted(arrivals)


def _arrivals(seen: Ints) -> list[Arrival]:
    found: list[Arrival] = []
    for now, port, kind in np.argwhere(seen >= 0).tolist():
        code = int(seen[now, port, kind])
        beat = (now, port, "beat", code >> 1, bool(code & 1))
        found.append((now, port, "response", code, True) if kind else beat)
    return sorted(found)


def expected(board: Board, bursts: list[Burst], accepted: list[int], until: int) -> list[Arrival]:
    """What the oracle sees when the same bursts are accepted in the same ticks."""
    naive = NaiveSwitch(board)
    order = sorted((t, i) for i, t in enumerate(accepted) if t >= 0)
    at = {t: [i for _, i in group] for t, group in groupby(order, key=lambda pair: pair[0])}
    found: list[Arrival] = []
    for now in range(until):
        for i in at.get(now, []):
            b = bursts[i]
            address = b.channel * board.hbm.capacity_bytes + b.offset
            naive.push(b.port, address, b.beats, b.is_write, i, now)
        found += [(now, *arrival) for arrival in naive.step(now)]
    return sorted(found)


def stream(port: int, channel: int, count: int, *, start: int = 0, is_write: bool = False) -> list[Burst]:
    """``count`` of the longest bursts in a row."""
    return [Burst(start, port, channel, i * 512, 16, is_write) for i in range(count)]


def beats_of(seen: Seen, port: int, begin: int = 0) -> int:
    """Read beats that ``port`` got from tick ``begin`` on."""
    return sum(a[2] == "beat" and a[1] == port and a[0] >= begin for a in seen.arrivals)
