"""DDR4-2400 of the Alveo U280: two DIMMs behind one flat address space.

========================  =================================================================
organisation              2 channels × 4 bank groups × 4 banks, 8 KiB page over 64 data bits
port                      512 bit at 300 MHz: 19.2 GB/s; a beat is one BL8 column command
idle read latency         22 ticks row open, 27 bank precharged, 32 other row open
address map               row, column, bank, bank group (RCBG)
refresh                   all banks of a channel, every 7.8 µs for 350 ns
========================  =================================================================

The values are leaves of `spec/data/board/u280.toml`. Addresses are dealt to the channels in granules of
``interleave_bytes``.
"""

from skipopu.sim.dram import Dram, new_dram
from skipopu.spec.board import Board
from skipopu.spec.memory import InterleavedMemory


def new_ddr(board: Board) -> Dram:
    """Return the DDR4 of ``board``, idle, with all its channels."""
    return new_dram(board.ddr)


def locate(memory: InterleavedMemory, address: int) -> tuple[int, int]:
    """Return (channel, byte address in that channel) of a byte of the flat address space."""
    granule, inside = divmod(address, memory.interleave_bytes)
    turn, channel = divmod(granule, memory.channels)
    return channel, turn * memory.interleave_bytes + inside


def address_of(memory: InterleavedMemory, channel: int, offset: int) -> int:
    """Return the flat byte address of byte ``offset`` of a channel; the inverse of `locate`."""
    turn, inside = divmod(offset, memory.interleave_bytes)
    return (turn * memory.channels + channel) * memory.interleave_bytes + inside
