"""Verilog has one module a block, the same on every machine, and it does in Verilator what Python computes."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_blocks import Accumulator, Crossing, Mixed, Trio, Two

from skipopu.hdl.cosim.bench import read_arrays
from skipopu.hdl.cosim.runner import CosimError, build, run
from skipopu.hdl.verilog import Block, emit, write_verilog
from skipopu.spec.error import SpecError

CYCLES = 500


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


def totals(words: NDArray[Any], valid: NDArray[Any]) -> NDArray[Any]:
    """Sum of the three 8-bit sums before each cycle."""
    sums = np.cumsum(words * valid, axis=0)
    wrapped = (sums + 128) % 256 - 128
    return np.concatenate([[0], wrapped.sum(axis=1)])[: len(words)]


def cosimulated(block: Block, programs: Path, work: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(7)
    words, valid = rng.integers(-128, 128, (CYCLES, 3)), rng.integers(0, 2, (CYCLES, 3))
    program = build(emit(block), "trio", programs)
    outputs = run(program, "trio", "trio_bench", work, inputs={"words": words, "valid": valid})
    return totals(words, valid), read_arrays(outputs)


def test_each_block_is_one_module_children_first() -> None:
    texts = emit(Trio())
    assert list(texts) == ["accumulator", "trio"]
    assert [re.findall(r"^module (\w+)", text, re.MULTILINE) for text in texts.values()] == [["accumulator"], ["trio"]]
    assert re.findall(r"^  accumulator (\w+) \(", texts["trio"], re.MULTILINE) == ["part0", "part1", "part2"]


def test_blocks_are_equal_by_class_and_parameters() -> None:
    assert Accumulator() == Accumulator(width=8) != Accumulator(width=9)
    assert len({Trio(), Trio(width=8, step=0), Trio(step=1)}) == 2
    with pytest.raises(TypeError, match="positional"):
        Accumulator(8)  # type: ignore[misc]


def test_one_name_for_two_blocks_is_refused() -> None:
    with pytest.raises(SpecError, match=r"module accumulator: two different blocks .*override `module`"):
        emit(Mixed())


def test_the_text_depends_on_nothing_but_the_block() -> None:
    code = "import small_blocks, skipopu.hdl.verilog as v; print(sorted(v.emit(small_blocks.Two()).items()))"
    path = os.pathsep.join(sys.path)
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert said == {f"{sorted(emit(Two()).items())}\n"}


def test_the_text_names_no_place_of_this_machine() -> None:
    text = "".join(emit(Trio()).values())
    assert str(Path(__file__).parents[2]) not in text
    assert not re.search(r"\.py|\bsrc\b|\\\$|dump_module", text)


def test_clocks_are_connected_where_a_block_has_them() -> None:
    top = emit(Two())["two"]
    assert re.findall(r"\.(\w*(?:clk|rst))\((\w+)\)", top)[:4] == [(n, n) for n in ("clk", "hbm_clk", "hbm_rst", "rst")]
    assert "nothing" not in emit(Crossing())["crossing"]  # zero bits wide


def test_what_is_emitted_equals_python(programs: Path, tmp_path: Path) -> None:
    expected, found = cosimulated(Trio(), programs, tmp_path)
    assert found["total"].tolist() == expected.tolist()
    assert found["last"][5:].tolist() == [6 << 10 | 5] * (CYCLES - 5)  # the exponent went through three adders


def test_a_planted_fault_is_found(programs: Path, tmp_path: Path) -> None:
    expected, found = cosimulated(Trio(step=1), programs, tmp_path)
    assert found["total"].tolist() != expected.tolist()


def test_a_program_is_built_once_for_its_sources(programs: Path) -> None:
    first = build(emit(Trio()), "trio", programs)
    made = (first / "trio").stat().st_mtime_ns
    assert build(emit(Trio()), "trio", programs) == first
    assert (first / "trio").stat().st_mtime_ns == made
    assert build(emit(Trio(step=1)), "trio", programs) != first
    assert not [path for path in programs.iterdir() if path.is_dir() and path.name.startswith(".")]


def test_a_failure_shows_what_the_bench_said(programs: Path, tmp_path: Path) -> None:
    program = build(emit(Trio()), "trio", programs)
    environment = dict(os.environ)
    with pytest.raises(CosimError, match=r"(?s)failing_bench on trio.*cycle 7: total is 3, not 4"):
        run(program, "trio", "failing_bench", tmp_path, testcase="differs")
    with pytest.raises(CosimError, match="wrote no outputs"):
        run(program, "trio", "failing_bench", tmp_path, testcase="silent")
    assert environment == dict(os.environ)


def test_verilog_that_does_not_build_is_shown(programs: Path) -> None:
    with pytest.raises(CosimError, match=r"(?s)building broken.*%Error.*syntax error"):
        build({"broken": "module broken(\n  input clk\n);\n  assign = 1;\nendmodule\n"}, "broken", programs)
    assert not [path for path in programs.iterdir() if path.name.startswith("broken")]


def test_waves_are_recorded_where_they_are_asked_for(programs: Path, tmp_path: Path) -> None:
    program = build(emit(Accumulator()), "accumulator", programs, waves=True)
    with pytest.raises(CosimError, match="wrote no outputs"):
        run(program, "accumulator", "failing_bench", tmp_path, testcase="silent", waves=True)
    assert (tmp_path / "dump.fst").stat().st_size > 0


def test_files_are_written_with_their_list(tmp_path: Path) -> None:
    listed = write_verilog(Trio(), tmp_path / "rtl")
    assert listed.read_text(encoding="utf-8") == "accumulator.v\ntrio.v\n"
    assert sorted(path.name for path in listed.parent.iterdir()) == ["accumulator.v", "trio.f", "trio.v"]
    assert (listed.parent / "trio.v").read_text(encoding="utf-8") == emit(Trio())["trio"]
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="cannot be written"):
        write_verilog(Trio(), tmp_path / "file")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_pyverilog_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyverilog.vparser.parser import parse  # leaves a file open

    monkeypatch.chdir(tmp_path)  # it leaves parser tables where it runs
    write_verilog(Trio(), tmp_path)
    tree, _ = parse([str(tmp_path / "accumulator.v"), str(tmp_path / "trio.v")], debug=False)
    ports = {each.name: [port.first.name for port in each.portlist.ports] for each in tree.description.definitions}
    assert list(ports) == ["accumulator", "trio"]
    assert ports["accumulator"] == [
        "clk", "rst", "words__payload", "words__valid", "words__ready", "total", "tag", "last",
    ]  # fmt: skip
