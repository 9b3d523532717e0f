"""Row statistics: maximum and sums of the rows that pass by, tile by tile."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.npe.inverse_deviation import InverseDeviation
from skipopu.hdl.npe.maximum import Maximum
from skipopu.hdl.npe.reduction import Reduction
from skipopu.hdl.npe.rescaling_factor import RescalingFactor
from skipopu.hdl.npe.row_memory import RowMemory, row_bits
from skipopu.hdl.npe.row_sum import RowSum
from skipopu.hdl.npe.running_maximum import RunningMaximum
from skipopu.hdl.npe.score_total import ScoreTotal
from skipopu.hdl.npe.statistics_term import StatisticsTerm
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place
from skipopu.spec.npe import word_columns
from skipopu.spec.number_format import FP16
from skipopu.spec.overlay import Overlay


def tile_lanes(overlay: Overlay) -> int:
    """Return the numbers of a tile: a row tile on its way in, or a word of results, whichever is wider."""
    return max(overlay.pe_array.dot_length, word_columns(overlay.pe_array.columns, overlay.npe.lanes))


def tag_layout(rows: int) -> data.StructLayout:
    """Return where a tile belongs, of ``rows`` rows."""
    return data.StructLayout({
        "scores": 1,  # its numbers are scores, else numbers whose squares are summed
        "first": 1,  # of its row, whose statistics start afresh
        "last": 1,  # of its row of numbers, whose inverse is to be found
        "bank": 1,  # of scores
        "row": row_bits(rows),
    })  # fmt: skip


def tile_layout(overlay: Overlay) -> data.StructLayout:
    """Return a tile; where there are fewer numbers, scores are padded with −∞, numbers with zeros."""
    numbers = data.ArrayLayout(FP16.bits, tile_lanes(overlay))
    return data.StructLayout({"tag": tag_layout(overlay.npe.statistics_rows), "number": numbers})


class RowStatistics(Block):
    """Running maximum and sum of e^(score − maximum), or Σx² and 1/√(Σx²/D + ε), of rows of tiles.

    Bit for bit `numerics.softmax` and `numerics.normalization`. Powers and squares share reduction unit 0; with
    ``npe.layer_norm`` unit 1 sums the numbers themselves.

    Parameters
    ----------
    overlay : its ``npe`` says rows and stages, ``tile_lanes`` the width of a tile

    Ports
    -----
    valid (1), tile (`tile_layout`) : in, one a cycle at most
    share, epsilon : in, FP32, 1/D and ε, steady from the first tile of a row until its inverse is written
    read_bank (1), read_row : in, whose statistics are wanted
    maximum (FP16), total (FP32) : out, of the scores in that bank
    inverse (FP32), with ``npe.layer_norm`` mean (FP32) : out, of the row's numbers
    maximum_written, total_written, squares_written, inverse_written (1) : out, a statistic is written in this cycle:
        maximum and total for every tile of scores, the squares' sum for every tile of numbers, the inverse for the last
    written_maximum (FP16), written_total, written_squares, written_inverse (FP32) : out, what is written

    Timing
    ------
    Read data the cycle after the address. A tile that comes in cycle t is in what an address of cycle t +
    ``npe.statistics_latency`` reads, or a later one; the last tile of a row of numbers is in its inverse from t +
    ``npe.inverse_latency``. Tiles of one row come ``npe.sum_distance`` (numbers) or ``npe.softmax_distance`` (scores)
    cycles apart, at least; a bank of scores is not read while tiles of it are on their way.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._npe = overlay, overlay.npe
        row, word = row_bits(overlay.npe.statistics_rows), FP32.bits
        super().__init__({
            "valid": In(1), "tile": In(tile_layout(overlay)), "share": In(word), "epsilon": In(word),
            "read_bank": In(1), "read_row": In(row),
            "maximum": Out(FP16.bits), "total": Out(word), "inverse": Out(word),
            **({"mean": Out(word)} if overlay.npe.layer_norm else {}),
            "maximum_written": Out(1), "total_written": Out(1), "squares_written": Out(1), "inverse_written": Out(1),
            "written_maximum": Out(FP16.bits), "written_total": Out(word), "written_squares": Out(word),
            "written_inverse": Out(word),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Maximum, powers or squares, reduction, and the loops that add."""
        m = Module()
        n = self._npe
        before_sum = n.maximum_stages + n.power_stages + n.reduce_stages  # the cycle before a tile's sum stands there
        before_scale = before_sum - n.scale_stages
        maximum_tag = delayed(m, self.tile.tag, n.maximum_stages - 1, "maximum_tag")
        lane_tag = delayed(m, maximum_tag, 2, "lane_tag")
        scale_tag = delayed(m, lane_tag, before_scale - n.maximum_stages - 1, "scale_tag")
        sum_tag = delayed(m, scale_tag, n.scale_stages, "sum_tag")
        valid = in_flight(m, self.valid, before_sum, "tiles")
        running = self._running(m, valid[n.maximum_stages - 1], maximum_tag)
        sums = self._reduced(m, lane_tag.scores, running.maximum)
        self._scores(m, valid[before_scale], scale_tag, running, sums[0])
        self._numbers(m, valid[before_sum], sum_tag, sums)
        return m

    def _running(self, m: Module, valid: Value, tag: Any) -> Any:
        """The running maximum, in the loop of one cycle behind the maximum of the tile."""
        n, numbers = self._npe, self.tile.number
        largest = place(m, "largest", Maximum(lanes=tile_lanes(self._overlay) - 1, stages=n.maximum_stages))
        running = place(m, "running", RunningMaximum(rows=n.statistics_rows))
        m.d.comb += [
            largest.running.eq(numbers[0]),
            largest.number.as_value().eq(numbers.as_value()[FP16.bits :]), running.tile_maximum.eq(largest.result),
            running.valid.eq(valid & tag.scores), running.first.eq(tag.first), running.bank.eq(tag.bank),
            running.row.eq(tag.row), running.read_bank.eq(self.read_bank), running.read_row.eq(self.read_row),
            self.maximum.eq(running.read_maximum), self.maximum_written.eq(running.written),
            self.written_maximum.eq(running.written_maximum),
        ]  # fmt: skip
        return running

    def _reduced(self, m: Module, scores: Value, maximum: Value) -> list[Value]:
        """The tile's sum of each reduction unit."""
        n, lanes, centred = self._npe, tile_lanes(self._overlay), self._npe.layer_norm
        names = ("term", "number_term") if centred else ("term",)
        units = [
            place(m, f"reduction{k}", Reduction(lanes=lanes, stages=n.reduce_stages)) for k in range(len(names))
        ]  # fmt: skip
        for k in range(lanes):
            lane = place(m, f"lane{k}", StatisticsTerm(numbers=centred, stages=n.power_stages))
            number = delayed(m, self.tile.number[k], n.maximum_stages + 1, f"number{k}")
            m.d.comb += [lane.number.eq(number), lane.scores.eq(scores), lane.maximum.eq(maximum)]
            m.d.comb += [
                unit.term[k].eq(getattr(lane, name)) for unit, name in zip(units, names, strict=True)
            ]  # fmt: skip
        return [unit.result for unit in units]

    def _scores(self, m: Module, valid: Value, tag: Any, running: Any, tile_sum: Value) -> None:
        """Σ e^(score − maximum): the factor is ready with the powers and waits for the multiplier's turn."""
        n = self._npe
        factor = place(m, "factor", RescalingFactor(stages=n.power_stages))
        total = place(m, "score_total", ScoreTotal(
            rows=n.statistics_rows, scale_stages=n.scale_stages, add_stages=n.add_stages
        ))  # fmt: skip
        wait = n.reduce_stages - n.scale_stages
        m.d.comb += [
            factor.previous.eq(running.previous), factor.maximum.eq(running.maximum),
            total.valid.eq(valid & tag.scores), total.first.eq(tag.first), total.bank.eq(tag.bank),
            total.row.eq(tag.row), total.changed.eq(delayed(m, factor.changed, wait, "changed")),
            total.factor.eq(delayed(m, factor.factor, wait, "factor")), total.tile_sum.eq(tile_sum),
            total.read_bank.eq(self.read_bank), total.read_row.eq(self.read_row), self.total.eq(total.read_total),
            self.total_written.eq(total.written), self.written_total.eq(total.total),
        ]  # fmt: skip

    def _numbers(self, m: Module, valid: Value, tag: Any, tile_sums: list[Value]) -> None:
        """Σx², Σx, and after the last tile the inverse."""
        n = self._npe
        names = ("squares", "numbers")[: len(tile_sums)]
        sums = [
            place(m, f"sum_of_{name}", RowSum(rows=n.statistics_rows, add_stages=n.add_stages)) for name in names
        ]  # fmt: skip
        for row_sum, tile_sum in zip(sums, tile_sums, strict=True):
            m.d.comb += [
                row_sum.valid.eq(valid & ~tag.scores), row_sum.first.eq(tag.first), row_sum.row.eq(tag.row),
                row_sum.tile_sum.eq(tile_sum),
            ]  # fmt: skip
        squares, last = sums[0], delayed(m, tag.last, n.add_stages, "last")
        m.d.comb += [self.squares_written.eq(squares.written), self.written_squares.eq(squares.total)]
        complete = named(m, squares.written & last, "row_complete")
        self._inverse(m, complete, squares.written_row, dict(zip(names, sums, strict=True)))

    def _inverse(self, m: Module, valid: Value, row: Value, sums: dict[str, Any]) -> None:
        """From the totals on their way into the memories to what the operand lanes multiply by."""
        n = self._npe
        outputs = ("inverse", "mean") if n.layer_norm else ("inverse",)
        deviation = place(m, "deviation", InverseDeviation(
            layer_norm=n.layer_norm, scale_stages=n.scale_stages, add_stages=n.add_stages, root_stages=n.root_stages
        ))  # fmt: skip
        m.d.comb += [deviation.share.eq(self.share), deviation.epsilon.eq(self.epsilon)]
        for name, row_sum in sums.items():
            m.d.comb += getattr(deviation, name).eq(delayed(m, row_sum.total, 1, f"{name}_total"))
        latency = n.inverse_latency - n.statistics_latency + 1
        m.d.comb += self.inverse_written.eq(in_flight(m, valid, latency, "inverses")[-1])
        m.d.comb += self.written_inverse.eq(deviation.inverse)
        written_row = delayed(m, row, latency, "inverse_row")
        for name in outputs:
            memory = place(m, f"{name}_memory", RowMemory(rows=n.statistics_rows, bits=FP32.bits))
            m.d.comb += [
                memory.write.eq(self.inverse_written), memory.write_row.eq(written_row),
                memory.write_data.eq(getattr(deviation, name)), memory.read_row.eq(self.read_row),
                getattr(self, name).eq(memory.read_data),
            ]  # fmt: skip
