"""Yosys for UltraScale+ finds the DSP48E2 of the specification in a pair of columns; LUT and FF beside the model."""

from functools import cache

import pytest

from skipopu.hdl.accumulation_tree import AccumulationTree
from skipopu.hdl.column_pair import ColumnPair
from skipopu.hdl.synthesis import Cells, SynthesisError, synthesise, total
from skipopu.hdl.verilog import emit
from skipopu.spec import resources
from skipopu.spec.overlay import Overlay

CLOSE = 1.25  # between what a tool makes and a count without one


@cache
def pair(name: str) -> tuple[Overlay, dict[str, Cells]]:
    overlay = Overlay.load(name)
    block = ColumnPair(pe_array=overlay.pe_array, psum=overlay.psum, primitive=True)
    return overlay, synthesise(emit(block))


def check(name: str) -> None:
    """Half a slice a product; cells near the model's, block by block where there are enough of them to matter."""
    overlay, modules = pair(name)
    found, model = total(modules, "column_pair"), resources.column_pair(overlay)
    assert found.counts["DSP48E2"] == found.estimate.dsp48e2 == model.dsp48e2 == overlay.pe_array.dot_length
    assert found.modules["pe"] == overlay.pe_array.dot_length
    assert 1 / CLOSE < found.estimate.lut / model.lut < CLOSE
    assert 1 / CLOSE < found.estimate.ff / model.ff < CLOSE
    assert found.estimate.bram36 == model.bram36 == 0


@pytest.mark.slow
def test_a_pair_of_columns_of_tiny() -> None:
    check("tiny")


@pytest.mark.slow
def test_a_pair_of_64_long_columns() -> None:
    """32 slices for the 64 products of a column."""
    check("skipopu-u280")
    assert total(pair("skipopu-u280")[1], "column_pair").counts["DSP48E2"] // 2 == 32


def test_delay_lines_of_three_cycles_are_shift_registers() -> None:
    overlay, modules = pair("tiny")
    length = overlay.pe_array.dot_length
    assert modules["shared_exponent"].shift_registers == (6 + 1) * length + 3  # exponents and signs; special values
    assert modules["column_pair"].shift_registers == 2 * (6 + 3) + 1


@pytest.mark.slow
def test_the_dsp_tree_takes_a_slice_an_addition_of_both_columns() -> None:
    block = AccumulationTree(length=16, addend_bits=16, tree_stages=2, kind="dsp", primitive=True)
    found = total(synthesise(emit(block)), block.module)
    assert (found.counts["DSP48E2"], found.estimate.lut, found.estimate.ff) == (15, 0, 0)


def test_cells_are_multiplied_out() -> None:
    modules = {
        "top": Cells({"LUT2": 1, "RAMB18E2": 3}, {"leaf": 2}),
        "leaf": Cells({"LUT6": 4, "INV": 1, "SRL16E": 2, "FDRE": 5, "CARRY4": 3, "DSP48E2": 1, "RAM64M8": 1}, {}),
    }
    found = total(modules, "top")
    assert found.modules == {"top": 1, "leaf": 2}
    assert found.estimate.values() == (1 + 2 * (4 + 1 + 2 + 8), 10, 2, 2, 0)
    assert (found.shift_registers, found.carry8) == (4, 3)


def test_what_yosys_refuses_is_told() -> None:
    with pytest.raises(SynthesisError, match=r"yosys failed: .*syntax error"):
        synthesise({"a": "module a(; endmodule"})
