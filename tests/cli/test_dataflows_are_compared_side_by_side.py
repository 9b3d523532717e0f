"""`--dataflow` of sim and compare: the trace and the machine that it stands for, one table, one-line refusals."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skipopu.program.dataflow import DATAFLOWS
from skipopu.trace import read_trace, synthesize, write_trace

TINY = ("--overlay", "tiny")
ROW_WISE = ("--set", "dataflow.fused=false", "--set", "dataflow.packed_heads=1")


def summary(skipopu: Any, *arguments: object) -> dict[str, Any]:
    said = skipopu("sim", *arguments, *TINY, "--json")
    assert (said.status, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


def refused(skipopu: Any, *arguments: object) -> str:
    said = skipopu(*arguments)
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
    return str(said.err)


@pytest.mark.parametrize("name", DATAFLOWS)
def test_a_dataflow_is_short_for_a_trace_and_two_settings(
    skipopu: Any, small_trace: Path, tmp_path: Path, name: str
) -> None:
    short = summary(skipopu, small_trace, "--dataflow", name, "-o", tmp_path / "short")
    twin = tmp_path / "twin.trace"
    write_trace(DATAFLOWS[name].of(read_trace(small_trace)), twin)
    settings = () if name == "kv_reuse_fused" else ROW_WISE
    assert summary(skipopu, twin, *settings, "-o", tmp_path / "long") == short


def test_compare_prints_each_trace_and_every_cycle_once(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.trace"
    write_trace(synthesize("skipgpt", read_trace(small_trace).header.shape, 5, 0, skip=0.5, seed=2), other)
    said = skipopu("compare", small_trace, other, *TINY, "--dataflow", "all")
    assert (said.status, said.err) == (0, "")
    head, *tables = said.out.split("\n\n")
    for row in ("small, prefill", "small, decode", "other, prefill"):
        assert len(re.findall(rf"^{row} +[\d,]+( +[\d,]+ \([\d.]+×\)){{3}}$", head, re.MULTILINE)) == 1
    assert "other, decode" not in said.out
    columns = [line.split("  ") for table in tables[1:] for line in table.splitlines()]
    first = [(cells[0], cells[1:]) for cells in columns]
    total = 0
    for name, cells in first:
        number = next(c for c in cells if c.strip()).split()[0].replace(",", "")
        if name == "sum":
            assert total == int(number)
            total = 0
        elif number.isdigit():
            total += int(number)
    assert [name for name, _ in first].count("sum") == 3


def test_a_pair_of_dataflows_has_two_columns(skipopu: Any, small_trace: Path) -> None:
    said = skipopu("compare", small_trace, *TINY, "--dataflow", "kv_reuse", "--dataflow", "kv_reuse_fused")
    assert said.status == 0, said.err
    assert "baseline" not in said.out
    assert "kv_reuse_fused" in said.out


ONE = ("--dataflow", "baseline")
REFUSED = {
    "another name": (("sim", "--dataflow", "fast"), "fast"),
    "a key given twice": (("sim", *ONE, "--set", "dataflow.fused=true"), "--set dataflow.fused=true"),
    "one dataflow": (("compare", *ONE), "nothing to compare with"),
    "twice the same": (("compare", *ONE, *ONE), "given twice"),
    "all and one": (("compare", *ONE, "--dataflow", "all"), "leave the others out"),
    "two overlays": (("compare", "--dataflow", "all", "--overlay", "skipopu-u280"), "on one overlay"),
    "a key that each sets": (("compare", "--dataflow", "all", "--set", "dataflow.packed_heads=2"), "packed_heads=2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line(skipopu: Any, small_trace: Path, tmp_path: Path, case: str) -> None:
    (command, *options), text = REFUSED[case]
    out = ("-o", tmp_path / "out") if command == "sim" else ()
    assert text in refused(skipopu, command, small_trace, *TINY, *options, *out)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["sim", "compare"])
def test_reuse_needs_a_trace_that_reuses(skipopu: Any, small_trace: Path, tmp_path: Path, command: str) -> None:
    dense = tmp_path / "dense.trace"
    write_trace(DATAFLOWS["baseline"].of(read_trace(small_trace)), dense)
    options = ("--dataflow", "kv_reuse", "-o", tmp_path / "out") if command == "sim" else ("--dataflow", "all")
    line = refused(skipopu, command, dense, *TINY, *options)
    assert "kv_policy = dense" in line
    assert "baseline, partial_skip" in line


def test_a_finished_result_has_one_dataflow(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    summary(skipopu, small_trace, "-o", tmp_path / "out")
    assert "finished result" in refused(skipopu, "compare", tmp_path / "out", "--dataflow", "all")
