"""What an AXI memory under test conditions remembers: its ports, what was written, what it has seen."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.stalls import Pattern
from skipopu.sim.dram import Dram
from skipopu.sim.hbm import new_hbm
from skipopu.spec.board import Board
from skipopu.spec.overlay import AXI3_BURST_BEATS, HBM_BEAT_BYTES

BURSTS = 128  # entries of a port's rings, more than its queue takes
WORDS = HBM_BEAT_BYTES // 8  # 64-bit words of a beat
CHANNELS = ("ar", "aw", "w", "r", "b")  # each of them can stall
AR, AW, W, R, B = range(len(CHANNELS))
ANSWERS = ("arready", "rlast", "rvalid", "awready", "wready", "bvalid")  # bits of the field, as in `skipopu.hdl.axi`

PORT = np.dtype(
    [
        # the channels in this tick; ready, R and B are the memory's
        *((name, "i8", (2,)) for name in ("valid", "address", "beats", "ID", "ready")),  # [AR, AW]
        ("w_valid", "i8"), ("w_last", "i8"), ("w_data", "u8", (WORDS,)), ("w_ready", "i8"),
        ("r_valid", "i8"), ("r_last", "i8"), ("r_ID", "i8"), ("r_data", "u8", (WORDS,)),
        ("b_valid", "i8"), ("answers", "i8"),
        ("held", "i8", (2,)),  # [AR, AW]: 1 where a request was not taken in the tick before
        *((f"held_{name}", "i8", (2,)) for name in ("address", "beats", "ID")),
        ("since", "i8", (2,)),  # tick in which the request that stands there came
        # read bursts, absolute indices into rings
        ("reads", "i8"), ("reads_done", "i8"), ("beats_done", "i8"),  # of the burst that R is at
        ("beats_here", "i8"),  # delivered by the DRAM and not yet by R
        ("read_address", "i8", (BURSTS,)), ("read_beats", "i8", (BURSTS,)), ("read_ID", "i8", (BURSTS,)),
        ("version", "i8", (BURSTS, AXI3_BURST_BEATS)),  # beat of the write log that a read finds, −1 none
        # write bursts
        ("writes", "i8"), ("write_beats", "i8", (BURSTS,)), ("promised", "i8"),  # beats of all of them
        ("written", "i8"),  # beats that W has brought
        ("bursts_written", "i8"), ("burst_beats", "i8"), ("written_beats", "i8", (BURSTS,)), ("w_since", "i8"),
        ("responses", "i8"), ("answered", "i8"),  # by the DRAM, on B
    ],
    align=True,
)  # fmt: skip
TOTAL = np.dtype([("events", "i8"), ("broken", "i8"), ("broken_port", "i8"), ("broken_tick", "i8")], align=True)
EVENT = ("tick", "port", "channel", "since", "ID", "address", "beats")  # W: last beat, first beat


class AxiMemory(NamedTuple):
    """Ports of a memory, its DRAM behind them."""

    dram: Dram
    ports: Any  # records [port]
    stalls: NDArray[np.uint8]  # [port, channel, tick], 1 where the channel may move; repeats
    log: NDArray[np.uint64]  # [port, beat, word]: what W brought, in order
    image: NDArray[np.uint64]  # [beat, word]: what stands there from the beginning
    keys: NDArray[np.int64]  # hash table of the beats that have contents: port and beat address, −1 none
    beats: NDArray[np.int64]  # their last beat in the log; of the image: −2 and down
    events: NDArray[np.int64]  # [event, EVENT]: bursts taken from AR, AW and W
    total: Any  # records [1]


def stall_names(ports: int) -> tuple[str, ...]:
    """Names of the stall patterns of a memory."""
    return tuple(f"{channel} {port}" for port in range(ports) for channel in CHANNELS)


def new_axi_memory(
    board: Board, ports: int, stalls: Mapping[str, Pattern], beats: int, bursts: int, image: int = 0
) -> AxiMemory:
    """Return an idle memory for at most ``beats`` beats written to a port, and ``bursts`` in all.

    ``image``: beats that have contents from the beginning; see `axi_memory_contents.preload`.
    """
    size = 1 << (4 * (ports * beats + image) + 1).bit_length()
    records = np.zeros(ports, PORT).view(np.recarray)
    records.w_since = -1
    return AxiMemory(
        dram=new_hbm(board, ports), ports=records,
        stalls=np.stack([stalls[name] for name in stall_names(ports)]).reshape(ports, len(CHANNELS), -1),
        log=np.zeros((ports, beats + 1, WORDS), np.uint64), image=np.zeros((image, WORDS), np.uint64),
        keys=np.full(size, -1, np.int64), beats=np.zeros(size, np.int64),
        events=np.zeros((2 * bursts + 2 * BURSTS, len(EVENT)), np.int64),
        total=np.zeros(1, TOTAL).view(np.recarray),
    )  # fmt: skip
