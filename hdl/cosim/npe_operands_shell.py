"""Operand path and row statistics side by side, as they stand in the NPE."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import In, connect, flipped

from skipopu.hdl.cosim.npe_operands_words import listed
from skipopu.hdl.npe.operand_path import OperandPath
from skipopu.hdl.npe.row_statistics import RowStatistics
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import FP16
from skipopu.spec.overlay import Overlay

STATISTICS = ("maximum", "total", "squares", "inverse")


def operand_names(overlay: Overlay) -> tuple[str, ...]:
    """Return what comes from the global buffer and the constants with a row tile, the lowest bits first."""
    return ("number", "gamma", "beta") if overlay.npe.layer_norm else ("number", "gamma")


class NpeOperands(Block):
    """`OperandPath`, all of whose tiles go to `RowStatistics`.

    Parameters
    ----------
    overlay : of both

    Ports
    -----
    operand : in, the words of `operand_names`
    those of both blocks that do not join them

    Timing
    ------
    That of the blocks.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._path, self._statistics = OperandPath(overlay=overlay), RowStatistics(overlay=overlay)
        self._operands = operand_names(overlay)
        tile = data.ArrayLayout(FP16.bits, overlay.pe_array.dot_length)
        path, statistics = self._path.signature.members, self._statistics.signature.members
        outside = (
            "operation", "start", "request", "read", "row_valid", "row", "write_back_valid", "write_back", "read_row"
        )  # fmt: skip
        noted = [name for each in STATISTICS for name in (f"{each}_written", f"written_{each}")]
        super().__init__({
            **{name: path[name] for name in outside},
            "operand": In(data.StructLayout(dict.fromkeys(self._operands, tile))),
            **{name: statistics[name] for name in ("share", "epsilon", *noted)},
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m = Module()
        path, statistics = place(m, "operand_path", self._path), place(m, "row_statistics", self._statistics)
        connect(m, flipped(self.request), path.request)
        connect(m, path.read, flipped(self.read))
        m.d.comb += path.listed.eq(listed(path.operation.rows, path.request.payload.row)[: len(path.listed)])
        for name, member in self.signature.members.items():
            block = path if hasattr(path, name) else statistics
            if name in ("request", "read", "operand"):
                continue
            mine, its = getattr(self, name), getattr(block, name)
            m.d.comb += its.eq(mine) if member.flow == In else mine.eq(its)
        m.d.comb += [getattr(path, name).eq(getattr(self.operand, name)) for name in self._operands]
        m.d.comb += [
            statistics.valid.eq(path.tile_valid), statistics.tile.eq(path.tile),
            statistics.read_bank.eq(path.read_bank), statistics.read_row.eq(path.read_row),
        ]  # fmt: skip
        for name in ("maximum", "total", "inverse", "mean"):
            if hasattr(path, name):
                m.d.comb += getattr(path, name).eq(getattr(statistics, name))
        return m
