"""The switch between the AXI ports and the pseudo-channels of an HBM: mini-switches in a row, joined by lateral links.

Ticks are cycles of the memory's AXI clock, as in `memory`. What a key says of both ways together is split by its
``_request`` partner: the request takes that part, the data or the response the rest.
"""

from dataclasses import dataclass

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import flag, number
from skipopu.spec.memory import MOST_CONTROLLER_LATENCY, Memory


@dataclass(frozen=True)
class HbmSwitch:
    """One kind of switch: every AXI port may address every pseudo-channel while it is enabled."""

    enabled: bool = flag()  # false: each port is wired to its own pseudo-channel
    mini_switch_ports: int = number("port", 1, 16, power_of_two=True)  # with as many pseudo-channels: a full crossbar
    stack_ports: int = number("port", 1, 64, power_of_two=True)  # of one HBM stack
    links: int = number("link", 1, 8, power_of_two=True)  # from a mini-switch to each neighbour
    link_beats: int = number("beat", 1, 4)  # data beats that a link carries in a tick, each way
    link_buffer: int = number("entry", 2, 64)  # beats, requests or responses that fit at a link's far end
    identifiers: int = number("ID", 1, 64)  # AXI IDs of a port
    local_ticks: int = number("tick", 2, 64)  # added to an access within the mini-switch
    local_request_ticks: int = number("tick", 1, 63)
    hop_ticks: int = number("tick", 2, 64)  # added for each lateral link within a stack
    hop_request_ticks: int = number("tick", 1, 63)
    crossing_ticks: int = number("tick", 2, 64)  # added for the lateral link between two stacks
    crossing_request_ticks: int = number("tick", 1, 63)

    @property
    def local_response_ticks(self) -> int:
        """Ticks that the switch adds to data on their way to a port."""
        return self.local_ticks - self.local_request_ticks

    def link_ticks(self, left: int, *, is_request: bool) -> int:
        """Ticks on the link between mini-switches ``left`` and ``left`` + 1, one way."""
        whole, request = self.hop_ticks, self.hop_request_ticks
        if (left + 1) * self.mini_switch_ports % self.stack_ports == 0:
            whole, request = self.crossing_ticks, self.crossing_request_ticks
        return request if is_request else whole - request

    def added_ticks(self, port: int, channel: int) -> int:
        """Ticks that the idle switch adds to a read of ``channel`` by ``port``, both ways together."""
        ends = sorted((port // self.mini_switch_ports, channel // self.mini_switch_ports))
        both = (self.link_ticks(left, is_request=way) for left in range(*ends) for way in (True, False))
        return self.local_ticks + sum(both)

    def check(self, where: str, memory: Memory) -> None:
        """Raise SpecError, naming ``where`` and the key, if leaves valid alone do not fit together or ``memory``."""
        for name in ("local", "hop", "crossing"):
            whole, request = getattr(self, f"{name}_ticks"), getattr(self, f"{name}_request_ticks")
            if request >= whole:
                raise _unfit(where, f"{name}_request_ticks", request, f"is part of {name}_ticks", whole - 1)
        if self.stack_ports < self.mini_switch_ports:
            raise _unfit(where, "stack_ports", self.stack_ports, "must hold a mini-switch", self.mini_switch_ports)
        if self.links > self.mini_switch_ports:
            raise _unfit(where, "links", self.links, "one or more ports use a link", self.mini_switch_ports)
        least = self._least_buffer()
        if self.link_buffer < least:
            raise _unfit(where, "link_buffer", self.link_buffer, "must cover a link's ticks and one more", least)
        if self.enabled:
            self._check_memory(where, memory)

    def _least_buffer(self) -> int:
        """Entries with which a link is never idle for lack of room: a place is known to be free a tick later."""
        parts = (self.hop_request_ticks, self.crossing_request_ticks)
        ways = [*parts, self.hop_ticks - parts[0], self.crossing_ticks - parts[1]]
        return (max(ways) + 1) * self.link_beats

    def _check_memory(self, where: str, memory: Memory) -> None:
        if self.mini_switch_ports > memory.channels:
            key, reason = "mini_switch_ports", f"hbm.channels = {memory.channels}"
            raise _unfit(where, key, self.mini_switch_ports, reason, memory.channels)
        most = MOST_CONTROLLER_LATENCY - self.local_ticks
        if memory.controller_latency > most:
            reason = f"more than {MOST_CONTROLLER_LATENCY} with hbm.controller_latency = {memory.controller_latency}"
            raise _unfit(where, "local_ticks", self.local_ticks, reason, f"hbm.controller_latency = {most}")


def _unfit(where: str, key: str, value: int, reason: str, nearest: int | str) -> SpecError:
    return SpecError(f"{where}.{key} = {value}; {reason}; nearest: {nearest}")
