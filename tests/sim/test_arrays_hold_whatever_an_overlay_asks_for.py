"""The simulator's arrays have fixed sizes: the highest values of the parameters that they depend on still fit."""

from dataclasses import fields
from itertools import product

import pytest

from skipopu.sim import machine
from skipopu.sim.bitmask import PLACES
from skipopu.spec.leaf import bound_of
from skipopu.spec.npe import Npe
from skipopu.spec.overlay import Dataflow, Dma, GlobalBuffer, Ifm, Overlay, PeArray, Psum, Sequencer

SECTIONS = {
    "dma": Dma, "global_buffer": GlobalBuffer, "ifm": Ifm, "npe": Npe, "pe_array": PeArray, "psum": Psum,
    "sequencer": Sequencer, "dataflow": Dataflow,
}  # fmt: skip


def highest(key: str) -> int:
    """Upper bound of a leaf."""
    section, name = key.split(".")
    bound = next(bound_of(f) for f in fields(SECTIONS[section]) if f.name == name)
    assert bound is not None
    return int(bound.high)


def slowest() -> Overlay:
    """Every stage that a result or an operand passes at its highest; with LayerNorm, the longest way of an operand."""
    keys = [f"npe.{f.name}" for f in fields(Npe) if f.name.endswith("_stages")]
    keys += ["global_buffer.read_stages", "pe_array.accumulate_stages", "psum.interleave"]
    return Overlay.load("tiny", ("npe.layer_norm=true", *(f"{key}={highest(key)}" for key in keys)))


def test_a_write_is_reserved_before_its_cycle_comes_round_again() -> None:
    """Results and normalised tiles are written a fixed time after they are asked for: see `sim.global_buffer`."""
    overlay = slowest()
    assert 0 < overlay.result_latency < machine.WRITES_AHEAD
    assert 0 < overlay.global_buffer.read_stages + overlay.npe.operand_latency < machine.WRITES_AHEAD


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("dma.hbm_ports", machine.MAX_PORTS),
        ("dma.crossing_stages", machine.HISTORY - 1),
        ("dma.read_bursts", machine.OUTSTANDING),
        ("dma.write_bursts", machine.OUTSTANDING),
        ("dma.ddr_read_bursts", machine.MOST_BURSTS),
        ("dma.ddr_write_bursts", machine.MOST_BURSTS),
        ("sequencer.queue_depth", machine.MAX_QUEUE),
        ("ifm.rows", machine.MAX_ROWS),
        ("npe.statistics_rows", machine.MAX_STATISTICS),
        ("dataflow.row_block", machine.MAX_STATISTICS),
        ("global_buffer.read_stages", machine.HISTORY - 2),  # the store looks back to the tile's write into its FIFO
        ("npe.route_stages", PLACES // 2),  # two changes a cycle
    ],
)
def test_the_highest_value_has_room(key: str, size: int) -> None:
    assert highest(key) <= size


def test_kv_append_has_room_for_the_tiles_it_asks_for() -> None:
    settings = product((1, 2, 4, 8), (16, 32, 64, 128, 256, 512), range(1, highest("global_buffer.read_stages") + 1))
    for ratio, dot, stages in settings:
        named = (f"clock.hbm_ratio={ratio}", f"pe_array.dot_length={dot}", f"global_buffer.read_stages={stages}")
        assert Overlay.load("tiny", named).append_tiles <= machine.TILES_AHEAD, named
