"""Drives one channel of the model with a list of bursts and writes down all it does."""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from dram_oracle import Command
from numpy.typing import NDArray

from skipopu.numerics.jit import jit
from skipopu.sim.dram import Dram, free_slots, new_dram, push, tick
from skipopu.spec.board import Board
from skipopu.spec.memory import Memory

Ints = NDArray[np.int64]


class Burst(NamedTuple):
    """One AXI burst, offered from tick ``start`` on, behind those before it."""

    start: int
    address: int
    beats: int
    is_write: bool = False


@dataclass(frozen=True)
class Seen:
    """What a channel did: accept tick of each burst, (tick, code) of each beat, ticks of write responses."""

    accepted: list[int]
    beats: list[tuple[int, int]]
    responses: list[int]
    commands: list[Command]
    refresh_ticks: list[int]
    first_refresh: int
    dram: Dram

    def of(self, *kinds: int) -> list[Command]:
        """Commands of the given kinds in order of time."""
        return sorted(c for c in self.commands if c.kind in kinds)


@cache
def memory_of(section: str, *settings: str) -> Memory:
    """The memory ``section`` of the U280, with settings relative to that section."""
    found: Memory = getattr(Board.load("u280", tuple(f"{section}.{s}" for s in settings)), section)
    return found


def slower(section: str, name: str, *settings: str) -> Memory:
    """The same memory with one timing parameter a tick longer."""
    memory = memory_of(section, *settings)
    longer = getattr(memory.timing, name) + 1000 / memory.axi_mhz
    return memory_of(section, *settings, f"timing.{name}={longer}")


@jit
def _drive(dram: Dram, bursts: Ints, seen: Ints, log: Ints, ends: Ints, until: int, always: bool) -> None:
    """``seen`` [tick, (code, responses so far)]; ``log`` [command, 4]; ``ends`` [burst] accept ticks."""
    c = dram.channels[0]
    pushed = 0
    written = 0
    for now in range(until):
        if pushed < len(bursts) and bursts[pushed, 0] <= now and free_slots(dram, 0) > 0:
            push(dram, 0, bursts[pushed, 1], bursts[pushed, 2], bursts[pushed, 3] != 0, pushed, now)
            ends[pushed] = now
            pushed += 1
        if always:  # look for work in every tick instead of only when there should be some
            c.wake = now
            c.schedule_at = now
        seen[now, 0] = tick(dram, 0, now)
        seen[now, 1] = c.write_responses
        for i in range(c.logged):
            log[written, 0] = c.log_tick[i]
            log[written, 1] = c.log_command[i]
            log[written, 2] = c.log_bank[i]
            log[written, 3] = c.log_row[i]
            written += 1
        c.logged = 0


def drive(memory: Memory, bursts: list[Burst], until: int, *, always: bool = False, **parameters: int) -> Seen:
    """Run one channel for ``until`` ticks; ``parameters`` replace ticks that the model works with."""
    dram = new_dram(memory, 1)
    dram.channels.logged[:] = 0
    for name, value in parameters.items():
        dram.parameters[name][:] = value
    first_refresh = int(dram.channels.next_refresh[0])
    rows = np.array([(b.start, b.address, b.beats, b.is_write) for b in bursts], np.int64).reshape(-1, 4)
    seen = np.zeros((until, 2), np.int64)
    log = np.zeros((8 * int(rows[:, 2].sum()) + until, 4), np.int64)
    accepted = np.full(len(bursts), -1, np.int64)
    _drive(dram, rows, seen, log, accepted, until, always)
    return _seen(dram, seen, log, accepted, first_refresh)


def _seen(dram: Dram, seen: Ints, log: Ints, accepted: Ints, first_refresh: int) -> Seen:
    commands = [Command(*(int(x) for x in row)) for row in log[log.any(axis=1)]]
    arrived = np.flatnonzero(seen[:, 0] >= 0)
    return Seen(
        accepted=accepted.tolist(),
        beats=list(zip(arrived.tolist(), seen[arrived, 0].tolist(), strict=True)),
        responses=np.flatnonzero(np.diff(seen[:, 1], prepend=0)).tolist(),
        commands=commands,
        refresh_ticks=sorted(c.tick for c in commands if c.kind == 3),
        first_refresh=first_refresh,
        dram=dram,
    )


def place(memory: Memory, *, row: int = 0, group: int = 0, bank: int = 0, column: int = 0) -> int:
    """Byte address in the channel of a column: the inverse of the address map, field by field."""
    left = {"R": row, "G": group, "B": bank, "C": column}
    beat = 0
    for field in memory.address_fields:
        beat |= (left[field.name] & ((1 << field.bits) - 1)) << field.shift
        left[field.name] >>= field.bits
    return beat * memory.beat_bytes


def as_lists(seen: Seen) -> tuple[Any, ...]:
    """Everything observable, for comparing two runs."""
    return seen.accepted, seen.beats, seen.responses, sorted(seen.commands)
