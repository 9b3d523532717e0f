"""HBM2 of the Alveo U280: 32 AXI3 ports, each in front of its own pseudo-channel.

========================  =================================================================
organisation              2 stacks × 16 pseudo-channels × 4 bank groups × 4 banks, 1 KiB page
port                      256 bit at 450 MHz: 14.4 GB/s; a beat is one BL4 column command
bursts                    1 to 16 beats (AXI3), not across 4 KiB
idle read latency         48 ticks row open, 55 bank precharged, 62 other row open
address map               row, bank-group bit, bank, column, bank-group bit (RGBCG)
refresh                   all banks of a pseudo-channel, every 3.9 µs for 260 ns
========================  =================================================================

The values are leaves of `spec/data/board/u280.toml`. Port p holds bytes p · 256 MiB and up of the 8 GB, and that is
all it addresses; with ``hbm_switch.enabled`` its path is longer by the switch's ticks (`Board.local_hbm`). Ports that
reach each other's pseudo-channels through the switch are `hbm_switch`.
"""

from skipopu.sim.dram import Dram, new_dram
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError


def new_hbm(board: Board, ports: int | None = None) -> Dram:
    """Return the HBM of ``board``, idle, with ``ports`` of its ports or all of them.

    Raises SpecError if the board has not that many.
    """
    if ports is not None and not 1 <= ports <= board.hbm.channels:
        raise SpecError(f"ports = {ports}; board {board.name} has 1 to {board.hbm.channels} (hbm.channels)")
    return new_dram(board.local_hbm, ports)
