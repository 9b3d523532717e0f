"""The bursts that the overlay's ports keep outstanding fit the queues of the board's memories."""

import pytest
from small_programs import board, tiny, trace

from skipopu.program.context import resolve
from skipopu.spec.error import SpecError


@pytest.mark.parametrize(("settings", "message"), [
    (("dma.read_bursts=64", "dma.write_bursts=4"),
     "dma.read_bursts + dma.write_bursts = 68; a port of board u280 takes 64 (hbm.queue_depth); lower either"),
    (("dma.ddr_read_bursts=30", "dma.ddr_write_bursts=3"),
     "dma.ddr_read_bursts + dma.ddr_write_bursts = 33; a channel of board u280 takes 32 (ddr.queue_depth); lower"
     " either"),
])  # fmt: skip
def test_more_are_refused(settings: tuple[str, ...], message: str) -> None:
    overlay = tiny(settings)
    with pytest.raises(SpecError) as error:
        resolve(trace(), overlay, board())
    assert str(error.value) == f"overlay {overlay.name}: {message}"


def test_as_many_are_taken() -> None:
    resolve(trace(), tiny(("dma.ddr_read_bursts=28", "dma.ddr_write_bursts=4")), board())
