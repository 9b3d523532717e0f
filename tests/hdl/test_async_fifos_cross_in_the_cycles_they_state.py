"""FIFOs and counts between two clocks: exact latency where edges are aligned, no word lost where they are not."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from skipopu.hdl.async_fifo import AsyncFifo, fifo_depth
from skipopu.hdl.chunk_fifo import ChunkFifo
from skipopu.hdl.gray_count import GrayCount
from skipopu.spec.error import SpecError

CORE, HBM = "sync", "hbm"
CYCLES = 600
ALIGNED = {1: ((4, 4), (4, 4)), 2: ((8, 8), (4, 4)), 4: ((16, 16), (4, 4))}  # ratio → (period, first edge) of both
DRIFTING = [((14, 3), (10, 4)), ((10, 9), (22, 2)), ((26, 1), (6, 5))]
Clock = tuple[int, int]


@dataclass
class Ends:
    """A writer and a reader of a FIFO, each with a random pattern; words are numbers from 0 up."""

    fifo: Any
    depth: int
    random: random.Random
    written: list[int] = field(default_factory=list)  # cycle of the writer's clock
    valid: list[int] = field(default_factory=list)  # cycle of the reader's clock in which the word came
    popped: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    credits_back: int = 0  # words whose pop is past

    async def write(self, context: Any) -> None:
        """Write now and then, while there is a credit."""
        domain = self.fifo._write_domain
        for cycle in range(CYCLES):
            may = len(self.written) - self.credits_back < self.depth and self.random.random() < 0.6
            context.set(self.fifo.write, may)
            context.set(self.fifo.write_data, len(self.written))
            self.written += [cycle] * may
            await context.tick(domain)
        context.set(self.fifo.write, 0)

    async def read(self, context: Any) -> None:
        """Read now and then."""
        domain = self.fifo._read_domain
        for cycle in range(CYCLES):
            ready, valid = self.random.random() < 0.7, context.get(self.fifo.read.valid)
            context.set(self.fifo.read.ready, ready)
            if valid and len(self.valid) == len(self.popped):
                self.valid.append(cycle)
            if valid and ready:
                self.popped.append(cycle)
                self.words.append(context.get(self.fifo.read.payload))
            await context.tick(domain)
            self.credits_back = len(self.popped)


def simulated(block: Any, clocks: tuple[Clock, Clock], *benches: Any) -> None:
    simulator = Simulator(block)
    for (period, phase), domain in zip(clocks, (CORE, HBM), strict=True):
        simulator.add_clock(period * 1e-9, phase=phase * 1e-9, domain=domain)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def passed(depth: int, ways: tuple[str, str], ahead: bool, stages: int, clocks: tuple[Clock, Clock]) -> Ends:
    write, read = ways
    fifo = AsyncFifo(width=16, depth=depth, stages=stages, write_domain=write, read_domain=read, ahead=ahead)
    ends = Ends(fifo, depth, random.Random(f"{depth} {ways} {stages} {clocks}"))
    simulated(fifo, clocks, ends.write, ends.read)
    assert ends.words == list(range(len(ends.words)))
    assert len(ends.words) > 30
    return ends


@pytest.mark.parametrize("ratio", ALIGNED)
@pytest.mark.parametrize("stages", [2, 3, 5])
def test_from_the_core_a_word_takes_its_stages_in_hbm_ticks(ratio: int, stages: int) -> None:
    ends = passed(4, (CORE, HBM), False, stages, ALIGNED[ratio])
    due = [(cycle + 1) * ratio + stages for cycle in ends.written]
    assert ends.valid == expected(due, ends)


@pytest.mark.parametrize("ratio", ALIGNED)
@pytest.mark.parametrize("stages", [2, 3, 5])
def test_into_the_core_it_takes_them_and_the_output_register_in_cycles(ratio: int, stages: int) -> None:
    ends = passed(8, (HBM, CORE), True, stages, ALIGNED[ratio])
    due = [(tick + 1) // ratio + stages + 1 for tick in ends.written]
    assert ends.valid == expected(due, ends)


def expected(due: list[int], ends: Ends) -> list[int]:
    """A word comes when it is due and the one before it has gone."""
    gone = [-1, *ends.popped]
    return [max(due[n], gone[n] + 1) for n in range(len(ends.valid))]


@pytest.mark.parametrize("clocks", DRIFTING)
@pytest.mark.parametrize("ahead", [False, True], ids=["now", "ahead"])
def test_clocks_that_drift_lose_nothing(clocks: tuple[Clock, Clock], ahead: bool) -> None:
    passed(8, (HBM, CORE), ahead, 2, clocks)
    passed(2, (CORE, HBM), ahead, 2, clocks)


@pytest.mark.parametrize("ratio", ALIGNED)
def test_a_count_is_known_after_its_stages(ratio: int) -> None:
    count, rng = GrayCount(width=3, stages=3), random.Random(ratio)
    happened: list[int] = []
    seen: list[int] = []

    async def happen(context: Any) -> None:
        for tick in range(CYCLES * ratio):
            now = rng.random() < 0.5
            context.set(count.happens, now)
            happened.extend([tick] * now)
            await context.tick(HBM)

    async def look(context: Any) -> None:
        for _ in range(CYCLES):
            seen.append(context.get(count.count))
            await context.tick(CORE)

    simulated(count, ALIGNED[ratio], happen, look)
    assert seen == [sum((tick + 1) // ratio + 3 <= cycle for tick in happened) % 8 for cycle in range(CYCLES)]


@pytest.mark.parametrize("depth", [0, 1, 3, 12])
def test_a_depth_that_gray_code_cannot_count_is_refused(depth: int) -> None:
    with pytest.raises(SpecError, match=rf"depth = {depth}; must be a power of two, at least 2; nearest: \d+"):
        AsyncFifo(width=1, depth=depth, stages=2, write_domain=CORE, read_domain=HBM, ahead=False)


def test_a_fifo_holds_at_least_the_credit() -> None:
    assert [fifo_depth(words) for words in (1, 2, 3, 8, 9, 100, 128)] == [2, 2, 4, 8, 16, 128, 128]
    assert ChunkFifo(chunks=9, ratio=2, stages=3)._fifo._depth == 16
