"""The HBM switch told a second time, slowly: lists, tuples and one object a burst, in plain Python.

Written from the rules at the head of `skipopu.sim.hbm_switch`; the DRAM behind it is the model's own, which has an
oracle of its own. A place is ("end", number) or ("link", from mini-switch, to mini-switch, which of the links).
"""

from collections import defaultdict
from dataclasses import dataclass

from skipopu.sim.dram import new_dram, push, tick
from skipopu.spec.board import Board

REQUESTS = ("read", "write")
Place = tuple[str, int] | tuple[str, int, int, int]


@dataclass(eq=False)
class Sent:
    """A burst on its way."""

    port: int
    channel: int
    address: int
    beats: int
    is_write: bool
    tag: int
    order: int


@dataclass(eq=False)
class Entry:
    """What stands in a queue: a request, a beat or a response, from tick ``when`` on."""

    burst: Sent
    last: bool
    when: int


class NaiveSwitch:
    """Advance tick by tick; `step` returns (port, "beat" | "response", tag, last) of all that arrives in the tick."""

    def __init__(self, board: Board) -> None:
        self.s, self.memory = board.hbm_switch, board.hbm
        self.dram = new_dram(board.hbm)
        self.bursts: list[Sent] = []
        self.queue: dict[tuple[str, Place], list[Entry]] = defaultdict(list)  # (network, where it came from)
        self.served: dict[tuple[str, int, Place], Place] = {}  # last input of an output
        self.written: dict[int, list[Sent]] = defaultdict(list)  # by channel, not yet answered
        self.held: dict[int, int] = defaultdict(int)
        self.carried: dict[tuple[str, Place], int] = {}  # when a link has room for its next beat, in beats
        self.gave: set[tuple[str, Place]] = set()  # inputs that have given something in this tick
        self.arriving: dict[int, list[tuple[int, str, int, bool]]] = defaultdict(list)

    def mini(self, end: int) -> int:
        return end // self.s.mini_switch_ports

    def push(self, port: int, address: int, beats: int, is_write: bool, tag: int, now: int) -> None:
        channel, offset = divmod(address, self.memory.capacity_bytes)
        burst = Sent(port, channel, offset, beats, is_write, tag, len(self.bursts))
        self.bursts.append(burst)
        entry = Entry(burst, True, now + self.s.local_request_ticks)
        self.queue[REQUESTS[is_write], ("end", port)].append(entry)

    def step(self, now: int) -> list[tuple[int, str, int, bool]]:
        self.gave.clear()
        for network in REQUESTS:
            self.over_links(network, now)
        for channel in range(self.memory.channels):
            self.into_controller(channel, now)
        for channel in range(self.memory.channels):
            self.out_of_dram(channel, now)
        for network in ("data", "response"):
            self.over_links(network, now)
            self.out_of_switch(network, now)
        return sorted(self.arriving.pop(now, []))

    def inputs(self, mini: int) -> list[Place]:
        """The inputs of a mini-switch in the order in which they are asked."""
        ends: list[Place] = [("end", mini * self.s.mini_switch_ports + i) for i in range(self.s.mini_switch_ports)]
        return ends + [("link", other, mini, i) for other in (mini - 1, mini + 1) for i in range(self.s.links)]

    def goal(self, network: str, mini: int, burst: Sent) -> Place:
        end = burst.channel if network in REQUESTS else burst.port
        if self.mini(end) == mini:
            return ("end", end)
        which = burst.port % self.s.mini_switch_ports // (self.s.mini_switch_ports // self.s.links)
        return ("link", mini, mini + (1 if self.mini(end) > mini else -1), which)

    def turn(self, network: str, mini: int, output: Place, now: int) -> Place | None:
        """The input that an output serves now: the first after the one it served last that wants it."""
        order = self.inputs(mini)
        begin = order.index(self.served[network, mini, output]) + 1 if (network, mini, output) in self.served else 0
        for place in order[begin:] + order[:begin]:
            waiting = self.queue[network, place]
            ready = waiting and waiting[0].when <= now and (network, place) not in self.gave
            if ready and self.goal(network, mini, waiting[0].burst) == output:
                return place
        return None

    def over_links(self, network: str, now: int) -> None:
        """Move what the links take in this tick; the room in their buffers is that from when the tick began."""
        full = {place: len(entries) for (n, place), entries in self.queue.items() if n == network and entries}
        if not full:
            return
        for mini in range(self.mini(self.memory.channels)):
            for link in (("link", mini, to, i) for to in (mini - 1, mini + 1) for i in range(self.s.links)):
                place = self.turn(network, mini, link, now)
                room = full.get(link, 0) < self.s.link_buffer
                if place is not None and room and self.carried.get((network, link), 0) <= now:
                    self.carry(network, link, place, now)

    def take(self, network: str, mini: int, output: Place, place: Place) -> Entry:
        """Take what stands first at an input and note that it was served."""
        self.served[network, mini, output] = place
        self.gave.add((network, place))
        entry = self.queue[network, place].pop(0)
        if network not in REQUESTS and place[0] == "end" and entry.last:
            self.held[entry.burst.channel] -= 1
        return entry

    def carry(self, network: str, link: tuple[str, int, int, int], place: Place, now: int) -> None:
        _, mini, other, _ = link
        entry = self.take(network, mini, link, place)
        self.carried[network, link] = now + (entry.burst.beats if network == "write" else 1)
        ticks = self.s.link_ticks(min(mini, other), is_request=network in REQUESTS)
        self.queue[network, link].append(Entry(entry.burst, entry.last, now + ticks))

    def into_controller(self, channel: int, now: int) -> None:
        mini, output = self.mini(channel), ("end", channel)
        offers = [(n, p) for n in REQUESTS if (p := self.turn(n, mini, output, now)) is not None]
        for network, place in sorted(offers, key=lambda o: self.queue[o][0].burst.order):
            if self.held[channel] == self.memory.queue_depth:
                return
            burst = self.take(network, mini, output, place).burst
            self.held[channel] += 1
            push(self.dram, channel, burst.address, burst.beats, burst.is_write, burst.order, now)
            self.written[channel] += [burst] * burst.is_write

    def out_of_dram(self, channel: int, now: int) -> None:
        answered = int(self.dram.channels[channel].write_responses)
        code = tick(self.dram, channel, now)
        if code >= 0:
            entry = Entry(self.bursts[code >> 1], bool(code & 1), now)
            self.queue["data", ("end", channel)].append(entry)
        if self.dram.channels[channel].write_responses > answered:
            entry = Entry(self.written[channel].pop(0), True, now)
            self.queue["response", ("end", channel)].append(entry)

    def out_of_switch(self, network: str, now: int) -> None:
        for port in range(self.memory.channels):
            mini, output = self.mini(port), ("end", port)
            place = self.turn(network, mini, output, now)
            if place is not None:
                entry = self.take(network, mini, output, place)
                what = "beat" if network == "data" else "response"
                arrival = (port, what, entry.burst.tag, entry.last)
                self.arriving[now + self.s.local_response_ticks].append(arrival)
