"""A DRAM memory as a data sheet: organisation, address map, timing, and the controller in front of it.

A tick is a cycle of the memory's AXI clock; `Memory.ticks` has the timing parameters in ticks.
One AXI beat is one column command: HBM2 moves BL4 × 64 bit = 32 B a command, DDR4 BL8 × 64 bit = 64 B.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import flag, number, word
from skipopu.spec.timing import Ticks, Timing

# Letters from the most significant address bit down: R row, G bank group, B bank, C column. The lower of two
# occurrences is one bit wide. Vendors say RBC for RGBC, BRC for GBRC, RCB for RCGB (HBM) or RCBG (DDR4), RCBI
# for RCBCG.
ADDRESS_MAPS = ("RGBCG", "BRGCG", "RGBC", "RCGB", "RCBG", "GBRC", "RCBCG")
MOST_CONTROLLER_LATENCY = 128


class AddressField(NamedTuple):
    """``bits`` bits of a beat address from bit ``shift`` up; they are bits ``into`` and up of ``name``."""

    name: str  # one of R, G, B, C
    shift: int
    bits: int
    into: int


@dataclass(frozen=True)
class Memory:
    """One kind of memory of a board; all channels are alike."""

    timing: Timing
    channels: int = number("channel", 1, 64, power_of_two=True)
    capacity_bytes: int = number("byte", 2**16, 2**40, power_of_two=True)  # of one channel
    beat_bytes: int = number("byte", 8, 128, power_of_two=True)
    axi_mhz: int = number("MHz", 50, 1000)
    bank_groups: int = number("group", 1, 8, power_of_two=True)
    banks_per_group: int = number("bank", 1, 4, power_of_two=True)
    page_bytes: int = number("byte", 64, 65536, power_of_two=True)
    address_map: str = word(*ADDRESS_MAPS)
    max_burst_beats: int = number("beat", 1, 64)
    queue_depth: int = number("burst", 1, 64)  # outstanding bursts of a port
    look_ahead: int = number("burst", 0, 63)  # bursts behind the head whose rows are opened early
    controller_latency: int = number("tick", 2, MOST_CONTROLLER_LATENCY)  # accepted → read beat, row open, less tCL
    request_latency: int = number("tick", 1, 127)  # the part of controller_latency before the command
    refresh_stagger: bool = flag()  # channels refresh in turn, tREFI / channels apart
    rounding_guard: float = number("tick", 0, 0.5)  # a parameter this little above n ticks takes n

    @cached_property
    def ticks(self) -> Ticks:
        """Every timing parameter in ticks: ceil(ns × MHz / 1000 − guard), at least one."""
        return Ticks(*(self._ticks(getattr(self.timing, f.name)) for f in fields(self.timing)))

    def _ticks(self, nanoseconds: float) -> int:
        return max(1, math.ceil(nanoseconds * self.axi_mhz / 1000 - self.rounding_guard))

    @property
    def response_latency(self) -> int:
        """Ticks from data at the DRAM's pins to the AXI port."""
        return self.controller_latency - self.request_latency

    @property
    def read_latency(self) -> int:
        """Ticks from an accepted read to its first beat: idle channel, row open."""
        return self.controller_latency + self.ticks.tCL

    def delayed(self, request_ticks: int, response_ticks: int) -> "Memory":
        """The same memory behind something that adds so many ticks to every request and to what it brings back."""
        return replace(
            self,
            controller_latency=self.controller_latency + request_ticks + response_ticks,
            request_latency=self.request_latency + request_ticks,
        )

    @property
    def banks(self) -> int:
        """Banks of one channel."""
        return self.bank_groups * self.banks_per_group

    @property
    def columns(self) -> int:
        """Beats in a row of one bank."""
        return self.page_bytes // self.beat_bytes

    @property
    def rows(self) -> int:
        """Rows of one bank."""
        return self.capacity_bytes // (self.page_bytes * self.banks)

    @property
    def total_bytes(self) -> int:
        """Bytes of all channels."""
        return self.channels * self.capacity_bytes

    @property
    def peak_bandwidth(self) -> float:
        """Bytes a second of all channels, a beat every tick."""
        return float(self.channels * self.beat_bytes * self.axi_mhz * 10**6)

    @cached_property
    def address_fields(self) -> tuple[AddressField, ...]:
        """How a beat address (byte address in the channel / beat_bytes) splits, lowest field first."""
        width = {"R": self.rows, "G": self.bank_groups, "B": self.banks_per_group, "C": self.columns}
        left = {name: size.bit_length() - 1 for name, size in width.items()}
        found: list[AddressField] = []
        shift = 0
        for position in reversed(range(len(self.address_map))):
            name = self.address_map[position]
            split = name in self.address_map[:position]
            bits = min(1, left[name]) if split else left[name]
            into = width[name].bit_length() - 1 - left[name]
            found.append(AddressField(name, shift, bits, into))
            left[name] -= bits
            shift += bits
        return tuple(found)

    def check(self, where: str) -> None:
        """Raise SpecError, naming ``where`` and the key, if leaves valid alone do not fit together."""
        if self.page_bytes < self.beat_bytes:
            raise _unfit(where, "page_bytes", self.page_bytes, "must hold a beat", self.beat_bytes)
        if self.rows < 1:
            least = self.page_bytes * self.banks
            raise _unfit(where, "capacity_bytes", self.capacity_bytes, "must hold a row a bank", least)
        if self.request_latency >= self.controller_latency:
            most = self.controller_latency - 1
            raise _unfit(where, "request_latency", self.request_latency, "is part of the controller's", most)
        least = self._least_refresh_interval()
        if self.timing.tREFI < least:
            raise _unfit(where, "timing.tREFI", self.timing.tREFI, "leaves no time between refreshes", least)

    def _least_refresh_interval(self) -> int:
        """Twice a refresh and the longest chain of commands that must end before it, in ns."""
        t = self.ticks
        write = t.tRTW + t.tCWL + t.tCCD_L + max(t.tWR, t.tWTR_L)
        chain = t.tRP + t.tRAS + t.tRCD_read + t.tRCD_write + write
        return math.ceil(2 * (t.tRFC + chain) * 1000 / self.axi_mhz)


def _unfit(where: str, key: str, value: float, reason: str, nearest: int) -> SpecError:
    return SpecError(f"{where}.{key} = {value:g}; {reason}; nearest: {nearest}")
