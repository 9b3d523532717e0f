"""DDR4-2400 of the Alveo U280: two DIMMs, a channel each.

========================  =================================================================
organisation              2 channels × 4 bank groups × 4 banks, 8 KiB page over 64 data bits
port                      512 bit at 300 MHz: 19.2 GB/s; a beat is one BL8 column command
idle read latency         22 ticks row open, 27 bank precharged, 32 other row open
address map               row, column, bank, bank group (RCBG)
refresh                   all banks of a channel, every 7.8 µs for 350 ns
========================  =================================================================

The values are leaves of `spec/data/board/u280.toml`. The load and store engines stripe tensors over
both channels, one beat each in turn.
"""

from skipopu.sim.dram import Dram, new_dram
from skipopu.spec.board import Board


def new_ddr(board: Board) -> Dram:
    """Return the DDR4 of ``board``, idle, with all its channels."""
    return new_dram(board.ddr)
