"""The vocabulary of the cycle ledger: blocks, causes, memories, and kinds of traffic.

It stands below simulator and RTL because both count with it: the RTL's performance counters are this table.
"""

from enum import IntEnum


class Named(IntEnum):
    """An IntEnum whose printed name is the lower-case member name."""

    @property
    def label(self) -> str:
        """The name as results print it."""
        return self.name.lower()


class Block(Named):
    """The blocks whose every cycle is accounted for."""

    SEQUENCER = 0
    DMA = 1  # weight stream, HBM → KER
    LOAD = 2  # DDR → global buffer and constants
    STORE = 3  # global buffer → DDR
    KV_BUFFER = 4  # K/V rounds, HBM and invariance buffer → KER
    KV_APPEND = 5  # global buffer → K/V cache in HBM
    PE_ARRAY = 6
    NPE = 7


class Cause(Named):
    """Why a block spent a cycle; each cycle of each block has exactly one."""

    BUSY = 0  # did the work it is there for
    WEIGHTS = 1  # waited for a weight tile
    ROWS = 2  # waited for activation rows from the global buffer
    KV = 3  # waited for a K/V round
    DDR = 4  # waited for DDR4 data or space
    HBM = 5  # waited for an HBM port
    BACKPRESSURE = 6  # its output FIFO or buffer half was full
    SEMAPHORE = 7  # its next instruction waited for a semaphore
    DRAINING = 8  # pipeline or memory responses of a finished loop still in flight
    IDLE = 9  # had no instruction


class Part(Named):
    """The part of a layer that an instruction of the PE array belongs to; its cycles are counted by it too."""

    NORM = 0  # RMSNorm before attention, where it takes passes of its own
    ROUTER = 1  # router and row statistics
    PROJECTIONS = 2  # Q, K and V
    SCORES = 3
    SOFTMAX = 4  # where it takes passes of its own
    CONTEXT = 5
    OUTPUT = 6  # the output projection, the last part of the attention module
    FFN = 7
    OUTSIDE = 8  # embeddings, final norm, LM head
    FFN_ROUTER = 9  # router, row statistics and norm of the FFN

    @property
    def is_attention(self) -> bool:
        """True for the parts of the attention module."""
        return self <= Part.OUTPUT


class NpeWork(Named):
    """What the NPE moves in its busy cycles; several kinds may move in one cycle."""

    ENTRIES = 0  # PSUM entries taken
    WORDS = 1  # words of sums sent to the adders, of each pair of entries
    OPERANDS = 2  # row tiles through the operand lanes or past the statistics


class Phase(Named):
    """Ledger rows are kept apart for prefill (anything before the first decode step) and decode."""

    PREFILL = 0
    DECODE = 1


class Traffic(Named):
    """What the bytes of HBM and DDR4 were for; WEIGHTS to KV_WRITE are HBM, the rest DDR4."""

    WEIGHTS = 0
    KV_READ = 1
    KV_WRITE = 2
    CONSTANTS = 3
    ACTIVATIONS_READ = 4
    ACTIVATIONS_WRITE = 5
    INSTRUCTIONS = 6

    @property
    def is_hbm(self) -> bool:
        """True for HBM traffic."""
        return self <= Traffic.KV_WRITE

    @property
    def is_write(self) -> bool:
        """True for bytes written to memory."""
        return self in (Traffic.KV_WRITE, Traffic.ACTIVATIONS_WRITE)
