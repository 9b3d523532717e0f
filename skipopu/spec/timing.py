"""DRAM timing parameters under their JEDEC names (JESD235 for HBM2, JESD79-4 for DDR4)."""
# ruff: noqa: N815  (tRCD, tFAW: JEDEC's names)

from dataclasses import dataclass
from typing import NamedTuple

from skipopu.spec.leaf import number


@dataclass(frozen=True)
class Timing:
    """In nanoseconds, from command to command unless said otherwise."""

    tRCD_read: float = number("ns", 0.1, 100)  # activate → read
    tRCD_write: float = number("ns", 0.1, 100)  # activate → write
    tCL: float = number("ns", 0.1, 50)  # read → its data
    tCWL: float = number("ns", 0.1, 50)  # write → its data
    tRP: float = number("ns", 0.1, 100)  # precharge → activate, same bank
    tRAS: float = number("ns", 0.1, 200)  # activate → precharge, same bank
    tCCD_S: float = number("ns", 0.1, 50)  # column → column, other bank group
    tCCD_L: float = number("ns", 0.1, 50)  # column → column, same bank group
    tRRD_S: float = number("ns", 0.1, 100)  # activate → activate, other bank group
    tRRD_L: float = number("ns", 0.1, 100)  # activate → activate, same bank group
    tFAW: float = number("ns", 0.1, 200)  # window of at most four activates
    tWR: float = number("ns", 0.1, 100)  # end of write data → precharge
    tRTP: float = number("ns", 0.1, 100)  # read → precharge
    tWTR_S: float = number("ns", 0.1, 100)  # end of write data → read, other bank group
    tWTR_L: float = number("ns", 0.1, 100)  # end of write data → read, same bank group
    tRTW: float = number("ns", 0.1, 100)  # read → write
    tRFC: float = number("ns", 1, 2000)  # all-bank refresh → activate
    tREFI: float = number("ns", 100, 100000)  # refresh → refresh, mean


class Ticks(NamedTuple):
    """The parameters of `Timing` in cycles of the AXI clock, each rounded up once."""

    tRCD_read: int
    tRCD_write: int
    tCL: int
    tCWL: int
    tRP: int
    tRAS: int
    tCCD_S: int
    tCCD_L: int
    tRRD_S: int
    tRRD_L: int
    tFAW: int
    tWR: int
    tRTP: int
    tWTR_S: int
    tWTR_L: int
    tRTW: int
    tRFC: int
    tREFI: int
