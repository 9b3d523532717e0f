"""MatrixControl: addresses are those of the layouts, starts and ends those of the simulator."""

from dataclasses import replace

import numpy as np
import pytest

from skipopu.hdl.cosim.matrix_control import cosimulate
from skipopu.hdl.cosim.matrix_model import MatrixModel
from skipopu.hdl.cosim.matrix_stimulus import Stimulus
from skipopu.hdl.matrix_control import MatrixControl
from skipopu.program.isa import Opcode
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import IN_FLIGHT, Overlay

TINY = Overlay.load("tiny")
SOME, MANY, SEED = 120, 1200, 5
OPCODES = {Opcode.MATMUL, Opcode.SCORES, Opcode.CONTEXT, Opcode.ROUTE, Opcode.STATISTICS, Opcode.NORMALIZE}
VARIANTS = {
    "words of a fourth of a column block": ("pe_array.columns=32", "npe.lanes=8", "global_buffer.tiles=4096"),
    "column blocks wider than a row tile": ("pe_array.columns=48", "global_buffer.tiles=4096"),
    "half a word of a head": ("pe_array.columns=16", "npe.lanes=16"),
    "heads one by one": ("dataflow.packed_heads=1", "dataflow.fused=false"),
    "heads one by one, several words": ("pe_array.columns=32", "npe.lanes=4", "dataflow.packed_heads=1"),
    "fewer columns than lanes of a round": ("dma.hbm_ports=4",),
    "layer norm, long constants": ("npe.layer_norm=true", "constants.half_bytes=16384"),
    "another latency": ("global_buffer.read_stages=1", "npe.add_stages=2", "npe.route_stages=16"),
    "router weights in narrow words": ("ker.constant_bytes_per_cycle=16",),
}


def agree(overlay: Overlay, instructions: int) -> None:
    found = cosimulate(overlay, instructions, SEED)
    assert found.difference is None, str(found.difference)
    assert set(found.instructions) == OPCODES
    assert found.tiles > 20 * instructions
    assert found.words > 5 * instructions


def test_tiny() -> None:
    agree(TINY, SOME)


@pytest.mark.slow
def test_more_of_tiny() -> None:
    agree(TINY, MANY)


@pytest.mark.slow
def test_the_u280() -> None:
    agree(Overlay.load("skipopu-u280"), SOME)


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", settings), 2 * SOME)


def test_the_stimulus_has_every_cause_and_fills_the_flight() -> None:
    rng = np.random.default_rng(SEED)
    model = MatrixModel(Stimulus(TINY, rng).instructions(2 * SOME), TINY, rng)
    array, npe, flying = set(), set(), set()
    while model.retired < 2 * SOME:
        expected = model.step().expected
        array.add(expected["cause"][0])
        npe.add(expected["npe_cause"][0])
        flying.add(model.sim.flying)
    assert array == set(Cause) - {Cause.HBM}
    assert npe == {Cause.BUSY, Cause.ROWS, Cause.BACKPRESSURE, Cause.DRAINING, Cause.IDLE}
    assert flying == set(range(IN_FLIGHT + 1))


def test_words_across_column_blocks_are_refused() -> None:
    pe = replace(TINY.pe_array, columns=12)
    with pytest.raises(SpecError) as error:
        MatrixControl(overlay=replace(TINY, pe_array=pe, npe=replace(TINY.npe, lanes=8)))
    assert str(error.value) == (
        "overlay tiny: npe.lanes = 8; pe_array.columns = 12 must be whole words of results, for the words of the next"
        " column block follow at once; nearest: npe.lanes=4"
    )
