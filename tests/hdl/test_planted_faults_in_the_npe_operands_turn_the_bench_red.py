"""One fault at a time in the RTL of the NPE's operand side: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Mux

from skipopu.hdl.cosim.npe_operands import cosimulate
from skipopu.hdl.npe import maximum
from skipopu.hdl.npe.inverse_deviation import InverseDeviation
from skipopu.hdl.npe.normalization import RmsNormalization
from skipopu.hdl.npe.operand_path import OperandPath
from skipopu.hdl.npe.probability import Probability
from skipopu.hdl.npe.reduction import Reduction
from skipopu.hdl.npe.row_memory import RowBanks, RowMemory
from skipopu.hdl.npe.running_maximum import RunningMaximum
from skipopu.hdl.npe.score_total import ScoreTotal
from skipopu.hdl.npe.scoreboard import Scoreboard
from skipopu.hdl.npe.statistics_row import StatisticsRow
from skipopu.hdl.pipeline import delayed
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
TILES, SEED = 2000, 3
pytestmark = pytest.mark.usefixtures("converted_anew")


def the_tile_s_maximum(_: Method) -> Method:
    return lambda self, m, before: self.tile_maximum


def every_bank(_: Method) -> Method:
    return lambda self, which, bank: Const(1, 1)


def the_row_before(_: Method) -> Method:
    def look_up(self: OperandPath, m: Module, tag: Any) -> None:
        m.d.comb += self.read_bank.eq(self.operation.bank)
        m.d.comb += self.read_row.eq(delayed(m, tag, 1, "stale_tag").statistics_row)

    return look_up


def bank_zero(_: Method) -> Method:
    def look_up(self: OperandPath, m: Module, tag: Any) -> None:
        m.d.comb += [self.read_row.eq(tag.statistics_row), self.read_bank.eq(0)]

    return look_up


def place_in_the_list(_: Method) -> Method:
    return lambda self, listed, rows: self.turn


def never_first(_: Method) -> Method:
    return lambda self, scores, request: Const(0, 1)


def first_tile_of_numbers(_: Method) -> Method:
    return lambda self, scores, request: request.tile == 0


def always(_: Method) -> Method:
    return lambda self: Const(1, 1)


def never(_: Method) -> Method:
    return lambda self: Const(0, 1)


def a_cycle_short(right: Method) -> Method:
    def init(self: Scoreboard, *, rows: int, distance: int) -> None:
        right(self, rows=rows, distance=distance - 1)

    return init


def a_row_too_early(right: Method) -> Method:
    return lambda self: Mux(self._last_head, 0, right(self) - 1)


def written_back_at_once(_: Method) -> Method:
    return lambda self, m, more, less: Const(0, 1)


def last_lane_dropped(right: Method) -> Method:
    return lambda self: list(right(self))[:-1]


def gamma_of_the_tile_before(_: Method) -> Method:
    return lambda self, m: delayed(m, self.gamma, self._scale + 1, "gamma")


def no_nan(right: Method) -> Method:
    return lambda *arguments: right(*arguments)._replace(nan=Const(0, 1))


def what_stood_there_before(_: Method) -> Method:
    return lambda self, memory, write: memory.read_port()


def a_maximum_is_a_number(_: Method) -> Method:
    return lambda self: Const(0, 1)


def variance_as_it_comes(_: Method) -> Method:
    return lambda self, m, variance: Const(0, 1)


Fault = tuple[Any, str, Callable[[Method], Method], tuple[str, ...]]
FAULTS: dict[str, Fault] = {
    "the tile's maximum replaces the running one": (RunningMaximum, "_larger", the_tile_s_maximum, ()),
    "both banks of scores are one": (RowBanks, "_meant", every_bank, ()),
    "scores are read from bank 0": (OperandPath, "_look_up", bank_zero, ()),
    "statistics of the row before": (OperandPath, "_look_up", the_row_before, ()),
    "statistics of a norm by the place in the list": (StatisticsRow, "_row_of_block", place_in_the_list, ()),
    "sums do not start afresh": (StatisticsRow, "_first", never_first, ()),
    "totals start afresh for the first head only": (StatisticsRow, "_first", first_tile_of_numbers, ()),
    "the factor is applied to an unchanged maximum": (ScoreTotal, "_rescales", always, ()),
    "the factor is not applied": (ScoreTotal, "_rescales", never, ()),
    "the scoreboard is a cycle short": (Scoreboard, "__init__", a_cycle_short, ()),
    "heads begin a row too early": (StatisticsRow, "_next_base", a_row_too_early, ()),
    "rows are read before they are written back": (OperandPath, "_outstanding", written_back_at_once, ()),
    "the reduction drops a lane": (Reduction, "_terms", last_lane_dropped, ()),
    "gamma of the tile before": (RmsNormalization, "_gamma_then", gamma_of_the_tile_before, ()),
    "a NaN is no maximum": (maximum, "fields", no_nan, ()),
    "a loop reads what stood there before": (RowMemory, "_read_port", what_stood_there_before, ()),
    "probabilities below an infinite maximum": (Probability, "_special", a_maximum_is_a_number, ()),
    "a variance below zero": (InverseDeviation, "_below_zero", variance_as_it_comes, ("npe.layer_norm=true",)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name", "fault", "settings"), FAULTS.values(), ids=FAULTS)
def test_the_fault_is_found(
    owner: Any, name: str, fault: Callable[[Method], Method], settings: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(owner, name, fault(getattr(owner, name)))
    assert cosimulate(Overlay.load("tiny", settings), TILES, SEED).difference is not None


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    for settings in ((), ("npe.layer_norm=true",)):
        assert cosimulate(Overlay.load("tiny", settings), TILES, SEED).difference is None
