"""What the HBM switch remembers: bursts, queues, outputs, ports.

Four networks of the same shape: read requests, writes with their data, read data, write responses. In each, every
mini-switch has the same inputs and outputs: first its ends (ports or pseudo-channels), then the lateral links of its
left neighbour, then those of its right one. A queue stands in front of every input. One record array holds all
queues, another all outputs; the entries of the queues lie in two arrays that they share.

Every tick is an absolute cycle of the memory's AXI clock.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.sim.dram import Dram
from skipopu.sim.dram_state import QUEUE as MOST_BURSTS  # bound of hbm.queue_depth
from skipopu.sim.dram_state import Records

NETWORKS = READS, WRITES, DATA, RESPONSES = range(4)  # the first two carry requests, towards the pseudo-channels
MOST_IDENTIFIERS = 64  # bound of hbm_switch.identifiers
CONTROLLER = -1  # where an output leads that ends at a pseudo-channel's controller
NONE = -1

PARAMETERS = np.dtype(
    [
        (name, "i8")
        for name in (
            "minis", "mini_ports", "mini_shift", "inputs", "links", "link_beats", "identifiers", "request_ticks",
            "queue_depth", "max_burst_beats", "beat_bytes", "channel_bytes", "total_bytes",
            "deliveries",  # queue of read data on their last ticks to port 0; those of the other ports follow, then
            "acknowledgements",  # the same for responses, a port each, then
            "writes",  # the writes that a controller has taken and not answered, a channel each
        )
    ]
)  # fmt: skip
QUEUE = np.dtype(
    [
        ("head", "i8"),  # absolute; entry i lies at origin + i % places
        ("tail", "i8"),
        ("origin", "i8"),
        ("places", "i8"),
        ("popped_at", "i8"),  # tick of the last pop
        ("before", "i8"),  # head at the start of that tick: what the other end of a link knows in it
        ("rate", "i8"),  # entries that may leave in a tick
        ("mini", "i8"),  # index into `waiting`
    ],
    align=True,
)
OUTPUT = np.dtype(
    [
        ("wanted", "i8"),  # bit i: the head of input i wants this output
        ("turn", "i8"),  # input that is asked first
        ("next_beat", "i8"),  # first place free for a beat, tick · link_beats + beat in the tick
        ("queue", "i8"),  # queue that it fills, or CONTROLLER
        ("ticks", "i8"),  # until what it sends stands there
        ("is_link", "i8"),
        ("sent", "i8"),  # counter: beats of data, requests without, responses
    ],
    align=True,
)
PORT = np.dtype(
    [
        ("outstanding", "i8"),
        ("beat", "i8"),  # tag · 2 + is_last of the read beat delivered in this tick, or −1
        ("response", "i8"),  # tag of the write answered in this tick, or −1
        ("pushed_at", "i8", (2,)),  # [is_write]: tick of the last push
        ("free", "i4", (MOST_BURSTS,)),  # stack of places for bursts; those from `outstanding` on are free
        ("thread", "i4", (2, MOST_IDENTIFIERS)),  # [is_write, ID]: outstanding bursts
        ("thread_channel", "i4", (2, MOST_IDENTIFIERS)),  # the pseudo-channel they all go to
    ],
    align=True,
)
CHANNEL = np.dtype([("held", "i8"), ("answered", "i8")])  # bursts taken and not wholly sent back; responses seen
BURST = np.dtype(
    [
        ("port", "i8"),
        ("channel", "i8"),
        ("link", "i8"),  # which of the parallel links it takes, both ways
        ("address", "i8"),  # in the pseudo-channel
        ("beats", "i8"),
        ("is_write", "i8"),
        ("identifier", "i8"),
        ("tag", "i8"),
        ("order", "i8"),  # number of its push
    ],
    align=True,
)


class SwitchedHbm(NamedTuple):
    """State of an HBM behind its switch; `hbm_switch` has what can be done with it."""

    dram: Dram
    p: Records  # [1], PARAMETERS
    queues: Records  # [(network · minis + mini) · inputs + input], then those named in PARAMETERS
    outputs: Records  # [(network · minis + mini) · inputs + output]
    waiting: NDArray[np.int64]  # [network · minis + mini]: entries in its queues; one more for all other queues
    when: NDArray[np.int64]  # of a queue's entry: tick from which it may be taken
    what: NDArray[np.int64]  # of a queue's entry: index of its burst · 2, + 1 if the burst ends with it
    ports: Records  # [port]
    channels: Records  # [channel]
    bursts: Records  # [port · queue_depth + place]
    pushes: NDArray[np.int64]  # [1]
