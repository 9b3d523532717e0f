"""The DDR4 ports of the simulator: credits, a beat a cycle each way, no response before the last beat."""

import numpy as np
import pytest

from skipopu.hdl.cosim.ddr_memory_state import DDR_CHANNELS
from skipopu.hdl.cosim.ddr_model import _cycle
from skipopu.hdl.cosim.ddr_model_state import DdrModel, new_model
from skipopu.hdl.cosim.ddr_stimulus import ddr_work
from skipopu.sim.dram import free_slots
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

CYCLES = 3000
SETTINGS = [(), ("dma.ddr_read_bursts=1", "dma.ddr_write_bursts=1"), ("clock.core_mhz=100", "dma.ddr_beats=16")]


def model_of(settings: tuple[str, ...]) -> DdrModel:
    overlay = Overlay.load("tiny", settings)
    return new_model(overlay, Board.load("u280"), ddr_work(overlay, 100, np.random.default_rng(1)))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_cycle(settings: tuple[str, ...]) -> None:
    d = Overlay.load("tiny", settings).dma
    whole = model_of(settings)
    m, ports, before = whole.machine, whole.machine.ddr_ports, np.zeros(DDR_CHANNELS, np.int64)
    sent = most_reads = most_writes = 0
    for _ in range(CYCLES):
        _cycle(whole)
        m.total.now += 1
        reads, writes = ports.reads - ports.reads_ended, ports.writes - ports.answered
        most_reads, most_writes = max(most_reads, int(reads.max())), max(most_writes, int(writes.max()))
        assert ((ports.given - before) <= 1).all()
        assert ports.sent_beats - sent <= 1
        assert all(free_slots(m.ddr, channel) >= 0 for channel in range(DDR_CHANNELS))
        for answered in ports.answered.tolist():
            assert answered == 0 or ports.ends[(answered - 1) % len(ports.ends)] <= ports.sent_beats
        before, sent = ports.given.copy(), int(ports.sent_beats)
    assert most_reads <= d.ddr_read_bursts
    assert most_writes <= d.ddr_write_bursts
    assert most_reads > 0
    assert most_writes > 0
