"""The whole NPE: what one side leaves, the other finds; and wires that are wrong are seen."""

from typing import Any

import pytest
from amaranth.hdl import Module

from skipopu.hdl.cosim.npe_joined import cosimulate
from skipopu.hdl.npe.npe import Npe
from skipopu.numerics.floating_point import FP16
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

TINY = Overlay.load("tiny")
BLOCKS = 30


def test_scores_come_back_as_probabilities_of_the_rows_that_execute() -> None:
    run = cosimulate(TINY, BLOCKS, seed=1)
    assert run.difference is None
    assert 0 < run.executed < run.tokens


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("pe_array.columns=32",), ("psum.interleave=8", "psum.format=fp16"), ("npe.add_stages=3", "npe.scale_stages=5"),
        ("global_buffer.read_stages=5", "dataflow.row_block=16"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_setting_joins(settings: tuple[str, ...]) -> None:
    assert cosimulate(Overlay.load("tiny", settings), BLOCKS, seed=2).difference is None


class Wrong(Npe):
    """An NPE with a fault, under the name of the true one."""

    @property
    def module(self) -> str:
        return "npe"


class ZeroPadding(Wrong):
    """Lanes without a score add e^(0 − maximum)."""

    def _padding(self) -> int:
        return 0


class LargePadding(Wrong):
    """Lanes without a score hold the largest number."""

    def _padding(self) -> int:
        return FP16.infinity - 1


class NextRow(Wrong):
    """Row lists are read one position too far."""

    def _position(self) -> Any:
        return super()._position() + 1


class OneList(Wrong):
    """Both sides read the list of mask register 0."""

    def _lists(self, m: Module, results: Any, operands: Any, router: Any) -> None:
        super()._lists(m, results, operands, router)
        m.d.comb += [router.operand.mask.eq(0), router.result.mask.eq(0)]


class OneBank(Wrong):
    """Statistics of words go to bank 0."""

    def _scores_tile(self, m: Module, results: Any) -> Any:
        tile = super()._scores_tile(m, results)
        m.d.comb += tile.tag.bank.eq(0)
        return tile


class StaleStatistics(Wrong):
    """A later row block adds to the statistics of an earlier one."""

    def _scores_tile(self, m: Module, results: Any) -> Any:
        tile = super()._scores_tile(m, results)
        m.d.comb += tile.tag.first.eq(0)
        return tile


class LateRoute(Wrong):
    """A route operation starts with row 1."""

    def _routing(self, m: Module, results: Any, router: Any) -> None:
        super()._routing(m, results, router)
        m.d.comb += router.start.eq(results.logits_valid & (results.logits_row == 1))


FAULTS = (ZeroPadding, LargePadding, NextRow, OneList, OneBank, StaleStatistics, LateRoute)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_wire_is_seen(fault: type[Npe]) -> None:
    assert cosimulate(TINY, BLOCKS, seed=1, block=fault(overlay=TINY)).difference is not None


def test_a_word_too_narrow_for_the_logits_is_refused() -> None:
    with pytest.raises(SpecError, match=r"npe\.lanes = 2, .* nearest: 4"):
        Npe(overlay=Overlay.load("tiny", ("npe.lanes=2",)))
