"""What a DDR4 memory under test conditions remembers: its channels, its contents, what it has seen."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import CHANNELS
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.sim.ddr import new_ddr
from skipopu.sim.dram import Dram
from skipopu.spec.board import Board
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES, DDR_CHANNELS, Overlay

BURSTS = 128  # entries of a channel's rings, more than its queue takes
WORDS = DDR_BEAT_BYTES // 8  # 64-bit words of a beat

PORT = np.dtype(
    [
        # the channels in this cycle; ready, R and B are the memory's
        *((name, "i8", (2,)) for name in ("valid", "address", "beats", "ID", "ready")),  # [AR, AW]
        ("w_valid", "i8"), ("w_last", "i8"), ("w_data", "u8", (WORDS,)), ("w_ready", "i8"),
        ("r_valid", "i8"), ("r_last", "i8"), ("r_ID", "i8"), ("r_data", "u8", (WORDS,)),
        ("b_valid", "i8"), ("answers", "i8"),
        ("held", "i8", (2,)),  # [AR, AW]: 1 where a request was not taken in the cycle before
        *((f"held_{name}", "i8", (2,)) for name in ("address", "beats", "ID")),
        # read bursts, absolute indices into rings; a read finds what stood there when it was taken
        ("reads", "i8"), ("reads_done", "i8"), ("beats_done", "i8"),  # of the burst that R is at
        ("beats_here", "i8"),  # delivered by the DRAM and not yet by R
        ("read_beats", "i8", (BURSTS,)), ("read_ID", "i8", (BURSTS,)),
        ("found", "u8", (BURSTS, AXI3_BURST_BEATS, WORDS)),
        # write bursts
        ("writes", "i8"), ("write_beats", "i8", (BURSTS,)), ("write_address", "i8", (BURSTS,)),
        ("bursts_written", "i8"), ("burst_beats", "i8"),  # by W: whole ones, beats of the next
        ("answered", "i8"),  # on B
    ],
    align=True,
)  # fmt: skip
TOTAL = np.dtype(
    [(n, "i8") for n in ("now", "ticks", "cycles", "events", "broken", "broken_channel", "broken_cycle")], align=True
)
EVENT = ("cycle", "channel", "kind", "ID", "address", "beats")  # kind as in `CHANNELS`: ar, aw, w


class DdrMemory(NamedTuple):
    """Channels in the core clock, the DRAM with its own clock behind them."""

    dram: Dram
    ports: Any  # records [channel]
    stalls: NDArray[np.uint8]  # [channel, AXI channel, cycle], 1 where it may move; repeats
    contents: NDArray[np.uint64]  # [channel, beat, word]
    events: NDArray[np.int64]  # [event, EVENT]: bursts taken from AR, AW and W
    total: Any  # records [1]


def ddr_stall_names() -> tuple[str, ...]:
    """Names of the stall patterns of a memory."""
    return tuple(f"ddr {channel} {number}" for number in range(DDR_CHANNELS) for channel in CHANNELS)


def new_ddr_memory(
    board: Board, overlay: Overlay, contents: NDArray[np.uint64], bursts: int, stalls: Mapping[str, Pattern] | None
) -> DdrMemory:
    """Return an idle memory with ``contents`` [channel, beat, 64-bit word], for at most ``bursts`` bursts in all.

    Without ``stalls`` it is always ready.
    """
    ratio = Fraction(board.ddr.axi_mhz) / Fraction(overlay.clock.core_mhz).limit_denominator(1000)
    total = np.zeros(1, TOTAL).view(np.recarray)
    total.ticks, total.cycles = ratio.numerator, ratio.denominator
    always = np.ones(1, np.uint8)
    patterns = [always if stalls is None else stalls[name] for name in ddr_stall_names()]
    return DdrMemory(
        dram=new_ddr(board), ports=np.zeros(DDR_CHANNELS, PORT).view(np.recarray),
        stalls=np.stack(patterns).reshape(DDR_CHANNELS, len(CHANNELS), -1), contents=contents.copy(),
        events=np.zeros((3 * bursts + BURSTS, len(EVENT)), np.int64), total=total,
    )  # fmt: skip


def striped(data: bytes, beats: int) -> NDArray[np.uint64]:
    """Return contents [channel, beat, word] of ``beats`` beats a channel: 64 bytes each in turn, zeros behind."""
    whole = np.zeros(beats * DDR_CHANNELS * DDR_BEAT_BYTES, np.uint8)
    whole[: len(data)] = np.frombuffer(data, np.uint8)
    words = whole.view(np.uint64).reshape(beats, DDR_CHANNELS, WORDS)
    return np.ascontiguousarray(words.transpose(1, 0, 2))


def unstriped(contents: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the bytes of ``contents`` in the order of addresses."""
    return np.ascontiguousarray(contents.transpose(1, 0, 2)).reshape(-1).view(np.uint8)
