"""Kernels that measure an HBM from its ports: ticks to a first beat, beats of sequential streams.

Streams are reads in the longest bursts, as many outstanding as a port may have, one ID a port.
"""

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import jit
from skipopu.sim import dram, hbm_switch
from skipopu.sim.dram import Dram
from skipopu.sim.hbm_switch_state import SwitchedHbm

Ints = NDArray[np.int64]
SILENT = -1  # channel of a port that does not read


@jit
def first_beat_of_dram(d: Dram, address: int, begin: int, end: int) -> int:
    """Read one beat of channel 0 in tick ``begin`` and go on to ``end``; return the tick in which it came, or −1."""
    found = -1
    dram.push(d, 0, address, 1, False, 0, begin)
    for now in range(begin, end):
        if dram.tick(d, 0, now) >= 0:
            found = now
    return found


@jit
def first_beat(h: SwitchedHbm, port: int, address: int, begin: int, end: int) -> int:
    """The same at a port of a switched HBM, ``address`` anywhere in it."""
    found = -1
    hbm_switch.push(h, port, address, 1, False, 0, 0, begin)
    for now in range(begin, end):
        if hbm_switch.tick(h, now) > 0 and h.ports[port].beat >= 0:
            found = now
    return found


@jit
def stream_of_dram(d: Dram, begin: int, end: int) -> int:
    """Read channel 0 in a row from tick ``begin`` to ``end``; return the beats that came."""
    c, p = d.channels[0], d.parameters[0]
    beats = 0
    for now in range(begin, end):
        if dram.free_slots(d, 0) > 0:
            dram.push(d, 0, (c.pushed * p.max_burst_beats) << p.address_shift, p.max_burst_beats, False, 0, now)
        beats += dram.tick(d, 0, now) >= 0
    return beats


@jit
def stream(h: SwitchedHbm, targets: Ints, sent: Ints, came: Ints, begin: int, end: int) -> None:
    """Read pseudo-channel ``targets[port]`` in a row from every port that is not SILENT.

    ``sent`` [port]: bursts pushed so far; ``came`` [port]: beats that came, added up.
    """
    p = h.p[0]
    burst_bytes = p.max_burst_beats * p.beat_bytes
    for now in range(begin, end):
        for port in range(len(targets)):
            if targets[port] == SILENT:
                continue
            address = targets[port] * p.channel_bytes + sent[port] * burst_bytes % p.channel_bytes
            if hbm_switch.accepts(h, port, address, False, 0, now):
                hbm_switch.push(h, port, address, p.max_burst_beats, False, 0, 0, now)
                sent[port] += 1
        if hbm_switch.tick(h, now) > 0:
            for port in range(len(targets)):
                came[port] += h.ports[port].beat >= 0
