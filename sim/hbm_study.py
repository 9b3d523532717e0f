"""What the HBM delivers to whom: idle latency and sequential bandwidth, near and far, alone and all at once.

    python -m skipopu.sim.hbm_study        # the U280 with its switch on

Measured on the model as one would measure the card, with the kernels of `hbm_probe`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from skipopu.sim.dram import new_dram
from skipopu.sim.hbm_probe import SILENT, Ints, first_beat, first_beat_of_dram, stream, stream_of_dram
from skipopu.sim.hbm_switch import new_switched_hbm
from skipopu.spec.board import Board

INTERVALS = 8  # refresh intervals over which bandwidth is counted, after one that is not
ROTATIONS = (0, 1, 2, 4, 8, 16)


class Reach(NamedTuple):
    """One port reading one pseudo-channel, everything else idle."""

    name: str
    port: int
    channel: int
    hit: int  # ticks to the first beat: row open
    closed: int  # bank precharged
    miss: int  # another row open
    bandwidth: float  # bytes a second, sequential


class Rotation(NamedTuple):
    """Every port p reading pseudo-channel (p + by) modulo their number."""

    by: int
    bandwidth: float  # bytes a second, all ports
    slowest: float  # of the port that gets least
    busiest_link: float  # share of what the busiest lateral link could carry


def reaches(board: Board) -> list[Reach]:
    """Measure a port alone, from its own pseudo-channel to the farthest; first without the switch."""
    ends, stack, last = board.hbm_switch.mini_switch_ports, board.hbm_switch.stack_ports, board.hbm.channels - 1
    paths = {"local": (0, 0), "same mini-switch": (0, ends - 1), "one link": (0, ends)}
    paths |= {"next stack": (stack - 1, stack), "farthest": (0, last)}
    found = [_reach(board, name, *path) for name, path in paths.items() if max(path) <= last]
    return [_reach_of_dram(board), *found]


def rotations(board: Board, steps: Sequence[int] = ROTATIONS) -> list[Rotation]:
    """Measure all ports at once, once for each of ``steps``."""
    return [_rotation(board, by) for by in steps]


def table(board: Board) -> str:
    """Return what `reaches` and `rotations` find as text; GB = 10⁹ bytes."""
    ns = 1000 / board.hbm.axi_mhz
    lines = [f"{'one port alone':18}{'path':>9}{'hit':>6}{'closed':>8}{'miss':>6}{'hit, ns':>9}{'GB/s':>7}"]
    for r in reaches(board):
        path = f"{r.port} - {r.channel}"
        times = f"{r.hit:>6}{r.closed:>8}{r.miss:>6}{r.hit * ns:>9.1f}"
        lines.append(f"{r.name:18}{path:>9}{times}{r.bandwidth / 1e9:>7.2f}")
    lines += ["", f"{'p reads p + s':18}{'GB/s':>9}{'of peak':>9}{'slowest port':>14}{'busiest link':>14}"]
    for rotation in rotations(board):
        share = rotation.bandwidth / board.hbm.peak_bandwidth
        numbers = f"{rotation.bandwidth / 1e9:>9.1f}{share:>9.1%}{rotation.slowest / 1e9:>14.2f}"
        lines.append(f"s = {rotation.by:<14}{numbers}{rotation.busiest_link:>14.1%}")
    return "\n".join(lines)


def _reach_of_dram(board: Board) -> Reach:
    quiet, interval = new_dram(_quiet(board).hbm, 1), board.hbm.ticks.tREFI
    times = _times(board, lambda offset, begin, end: first_beat_of_dram(quiet, offset, begin, end))
    dram = new_dram(board.hbm, 1)
    stream_of_dram(dram, 0, interval)
    beats = stream_of_dram(dram, interval, (1 + INTERVALS) * interval)
    return Reach("switch off", 0, 0, *times, _per_second(board, beats))


def _reach(board: Board, name: str, port: int, channel: int) -> Reach:
    quiet, base = new_switched_hbm(_quiet(board)), channel * board.hbm.capacity_bytes
    times = _times(board, lambda offset, begin, end: first_beat(quiet, port, base + offset, begin, end))
    targets = np.full(board.hbm.channels, SILENT)
    targets[port] = channel
    beats, _ = _stream(board, targets)
    return Reach(name, port, channel, *times, _per_second(board, int(beats[port])))


def _quiet(board: Board) -> Board:
    """The same board with its refreshes out of the way."""
    timing = replace(board.hbm.timing, tREFI=1e5)
    return replace(board, hbm=replace(board.hbm, refresh_stagger=False, timing=timing))


def _times(board: Board, read: Callable[[int, int, int], int]) -> tuple[int, int, int]:
    """Ticks to a beat of an open row, of a precharged bank, of another row, read one after the other."""
    row = next(f for f in board.hbm.address_fields if f.name == "R")
    offsets = (0, 0, board.hbm.beat_bytes << row.shift)
    apart = board.hbm.ticks.tRFC + 2000  # longer than any way there and back
    closed, hit, miss = (read(a, i * apart, (i + 1) * apart) - i * apart for i, a in enumerate(offsets))
    return hit, closed, miss


def _rotation(board: Board, by: int) -> Rotation:
    channels = board.hbm.channels
    beats, busiest = _stream(board, (np.arange(channels) + by) % channels)
    return Rotation(by, _per_second(board, int(beats.sum())), _per_second(board, int(beats.min())), busiest)


def _stream(board: Board, targets: Ints) -> tuple[Ints, float]:
    """Beats of each port in the counted intervals, and the load of the busiest link."""
    h, interval = new_switched_hbm(board), board.hbm.ticks.tREFI
    sent, came = np.zeros(len(targets), np.int64), np.zeros(len(targets), np.int64)
    stream(h, targets, sent, came, 0, interval)
    before = came.copy(), h.outputs.sent.copy()
    stream(h, targets, sent, came, interval, (1 + INTERVALS) * interval)
    carried = (h.outputs.sent - before[1])[h.outputs.is_link == 1]
    return came - before[0], int(carried.max(initial=0)) / (INTERVALS * interval * board.hbm_switch.link_beats)


def _per_second(board: Board, beats: int) -> float:
    return beats * board.hbm.beat_bytes * board.hbm.axi_mhz * 1e6 / (INTERVALS * board.hbm.ticks.tREFI)


if __name__ == "__main__":
    print(table(Board.load("u280", ("hbm_switch.enabled=true",))))
