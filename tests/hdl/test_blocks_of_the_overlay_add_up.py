"""Resources of the overlay of ``tiny``: a block is the sum over its places; synthesis does not depend on the run."""

from functools import cache
from pathlib import Path

import pytest

from skipopu import machine
from skipopu.hdl import synthesis, synthesis_cache
from skipopu.hdl.package import Package, package
from skipopu.hdl.package_parts import COUNTED, MODEL, module_cells, parts
from skipopu.spec.resource_terms import Estimate


@cache
def tiny() -> Package:
    overlay, board = machine("tiny")
    return package("overlay", overlay, board, "0" * 64)


def below(made: Package, module: str) -> Estimate:
    """Cells of one place of ``module``, every place below it visited."""
    own = module_cells(made.netlists[module], made.luts[module])
    return sum((below(made, child) for child in made.netlists[module].instances.values()), own)


def test_luts_of_a_block_are_those_of_its_places() -> None:
    made = tiny()
    found = {part.name: part for part in parts(made)}
    for name, module in made.netlists["overlay"].instances.items():
        if module != "matrix_engine":
            assert found[name].cells == below(made, module)
    for name, module in made.netlists["matrix_engine"].instances.items():
        if module != "pe_array":
            assert found[f"matrix.{name}"].cells == below(made, module)


def test_every_block_has_luts_and_says_how_they_were_found() -> None:
    *blocks, _ = parts(tiny())
    assert all(part.cells.lut > 0 for part in blocks if part.name != "between them")
    assert {part.name for part in blocks if part.how == MODEL} == {"matrix.pe_array"}
    assert {part.how for part in blocks} == {MODEL, COUNTED}


TEXTS = {
    "leaf": "module leaf(input [7:0] a, input [7:0] b,\n  output [7:0] q\n);\n  assign q = a + b;\nendmodule\n",
    "top": (
        "module top(input [7:0] a, input [7:0] b,\n  output [7:0] q\n);\n"
        "  wire [7:0] c;\n  leaf one (.a(a), .b(b), .q(c));\n  leaf two (.a(c), .b(c ^ b), .q(q));\nendmodule\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_a_module_is_the_same_whatever_is_synthesised_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: int
) -> None:
    """Alone it sees the module below as a black box; neither is lost, and a second run asks the cache."""
    monkeypatch.setattr(synthesis_cache, "directory", lambda: tmp_path)
    monkeypatch.setattr(synthesis, "BATCH", batch)
    told: list[tuple[int, int]] = []
    found = synthesis.synthesise(TEXTS, lambda done, of: told.append((done, of)))
    assert {name: (cells.luts, cells.modules) for name, cells in found.items()} == {
        "leaf": (8, {}), "top": (8, {"leaf": 2})
    }  # fmt: skip
    assert told == [(done, 2) for done in range(0, 2, batch)]
    monkeypatch.setattr(synthesis, "yosys", lambda verilog, script: pytest.fail("synthesised again"))
    assert synthesis.synthesise(TEXTS) == found
