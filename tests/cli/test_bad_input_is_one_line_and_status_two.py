"""Whatever is wrong with the input: one clear line, status 2, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from skipopu.spec.load import DATA
from skipopu.trace import synthesize, write_trace
from skipopu.trace.record import canonical

TINY = (DATA / "overlay" / "tiny.toml").read_text(encoding="utf-8")
CLOCK = "core_mhz = { value = "


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below ``directory`` with its bytes, and every folder."""
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in directory.rglob("*")}


@pytest.fixture
def refused(skipopu: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused; return its one line."""

    def run(*arguments: object) -> str:
        before = tree(tmp_path)
        said = skipopu(*arguments)
        assert (said.status, said.out) == (2, "")
        assert said.err.endswith("\n")
        assert said.err.count("\n") == 1, said.err
        assert tree(tmp_path) == before
        return str(said.err)

    return run


def with_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the header of a trace file."""
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    table = json.loads(metadata["skipopu.trace"])
    change(table["header"])
    save_file(arrays, path, metadata={"skipopu.trace": canonical(table)})


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_trace_is_refused(refused: Any, small_trace: Path, tmp_path: Path, share: float) -> None:
    data = small_trace.read_bytes()
    small_trace.write_bytes(data[: int(share * len(data))])
    assert "small.trace" in refused("sim", small_trace, "--overlay", "tiny", "-o", tmp_path / "out")


def test_a_wrong_schema_is_refused(refused: Any, small_trace: Path, tmp_path: Path) -> None:
    with_header(small_trace, lambda header: header.update(schema=99))
    line = refused("sim", small_trace, "--overlay", "tiny", "-o", tmp_path / "out")
    assert "schema" in line
    assert "99" in line


def test_an_altered_trace_is_refused(refused: Any, small_trace: Path, tmp_path: Path) -> None:
    with_header(small_trace, lambda header: header.update(family="dense"))
    assert "small.trace" in refused("sim", small_trace, "--overlay", "tiny", "-o", tmp_path / "out")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_nan_in_an_overlay_names_its_key(refused: Any, small_trace: Path, tmp_path: Path, value: str) -> None:
    assert CLOCK in TINY
    before, after = TINY.split(CLOCK)
    overlay = tmp_path / "mine.toml"
    overlay.write_text(before + CLOCK + value + "," + after.split(",", 1)[1], encoding="utf-8")
    line = refused("sim", small_trace, "--overlay", overlay, "-o", tmp_path / "out")
    assert "clock.core_mhz" in line
    assert "finite" in line


def test_an_unknown_key_in_an_overlay_file_is_named(refused: Any, small_trace: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(TINY.replace(CLOCK, CLOCK.replace("core_mhz", "core_mhzz"), 1), encoding="utf-8")
    line = refused("sim", small_trace, "--overlay", overlay, "-o", tmp_path / "out")
    assert "clock.core_mhzz" in line
    assert "did you mean" in line


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("pe_array.columns=0", "nearest: 2"),
        ("pe_array.columns=-4", "nearest: 2"),
        ("pe_array.columns=3", "nearest: 4"),
        ("pe_array.columns=nan", "pe_array.columns"),
        ("pe_array.columns=many", "pe_array.columns"),
        ("clock.core_mhz=nan", "finite"),
        ("pe_array.colums=64", "did you mean 'pe_array.columns'?"),
        ("pe_array.columns", "key=value"),
        ("board.hbm.no_such_key=1", "--set board.hbm.no_such_key"),
        ("board.ddr.no_such_key=1", "--set board.ddr.no_such_key"),
    ],
)
def test_a_bad_setting_names_key_and_valid_value(
    refused: Any, small_trace: Path, tmp_path: Path, setting: str, told: str
) -> None:
    line = refused("sim", small_trace, "--overlay", "tiny", "--set", setting, "-o", tmp_path / "out")
    assert told in line


@pytest.mark.parametrize(("option", "kind"), [("--overlay", "overlay"), ("--board", "board")])
def test_an_unknown_machine_lists_the_shipped_ones(
    refused: Any, small_trace: Path, tmp_path: Path, option: str, kind: str
) -> None:
    assert "shipped:" in refused("sim", small_trace, option, "no-such", "-o", tmp_path / "out")
    line = refused("sim", small_trace, option, tmp_path / "none.toml", "-o", tmp_path / "out")
    assert f"{kind} {tmp_path / 'none.toml'}: no such file" in line


def test_a_model_larger_than_hbm_is_refused(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "big.trace"
    write_trace(synthesize("dense", "llama2-7b", 4, 1), path)
    line = refused("sim", path, "--set", "datatypes.weights=fp16", "-o", tmp_path / "out")
    assert "HBM" in line
    assert "big" in line or "llama2-7b" in line


def test_a_sequence_beyond_capacity_is_refused(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.trace"
    write_trace(synthesize("dense", "llama2-7b", 20000, 1), path)
    line = refused("sim", path, "-o", tmp_path / "out")
    assert "20001" in line or "20,001" in line


def test_an_unwritable_output_is_refused_before_simulating(
    refused: Any, small_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skipopu.simulate", lambda *_, **__: pytest.fail("simulated for nothing"))
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "thesis.tex").write_text("years of work")
    # a test may run as root, who may write anywhere: below a file nobody can
    for place in (small_trace / "out", small_trace, occupied):
        assert str(place) in refused("sim", small_trace, "--overlay", "tiny", "-o", place)


def test_an_unwritable_trace_file_is_refused(refused: Any, small_trace: Path, tmp_path: Path) -> None:
    for place in (small_trace / "t.trace", tmp_path, tmp_path / "none" / "t.trace"):
        assert str(place) in refused("trace", "dense", "--prompt", 2, "--decode", 1, "-o", place)


@pytest.mark.parametrize(
    "arguments",
    [
        ("skipgpt", "--shape", "no-such"),
        ("no-such",),
        ("skipgpt", "--skip", "1.5"),
        ("skipgpt", "--skip", "nan"),
        ("skipgpt", "--prompt", "0"),
        ("skipgpt", "--decode", "-1"),
        ("skipgpt", "--seed", "-1"),
        ("skipgpt", "--knob", "rho=2"),
        ("skipgpt", "--knob", "roh=0.5"),
        ("skipgpt", "--knob", "rho"),
        ("skipgpt", "--text", "x.py"),
        ("skipgpt", "--checkpoint", "shipped"),
        ("--checkpoint", "shipped"),
        ("--checkpoint", "shipped", "--text", "no-such.py"),
        (),
    ],
)
def test_a_bad_trace_request_is_refused(refused: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused("trace", *arguments, "-o", tmp_path / "t.trace")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("simm",), "commands: doctor, families, trace, sim, compare, report"),
        (("sim",), "skipopu sim --help"),
        (("sim", "t.trace", "-o", "out", "--fast"), "--fast"),
        (("sim", "t.trace", "-o", "out", "--max-cycles", "0"), "--max-cycles"),
        (("sim", "t.trace", "-o", "out", "--max-cycles", "x"), "--max-cycles"),
        (("sim", "no-such.trace", "-o", "out"), "no-such.trace"),
        (("report", "no-such"), "no-such"),
        (("compare", "no-such.trace", "other.trace"), "no-such.trace"),
        (("compare", "one.trace"), "nothing to compare"),
    ],
)
def test_a_bad_command_line_is_refused(refused: Any, arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(*arguments)


def test_an_unknown_engine_is_refused(refused: Any, small_trace: Path, tmp_path: Path) -> None:
    assert "reference" in refused("sim", small_trace, "--engine", "warp", "-o", tmp_path / "out")


def test_damaged_results_are_refused(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text('{"schema": 1')
    assert "summary.json" in refused("report", tmp_path / "out")
    assert "summary.json" in refused("compare", tmp_path / "out", tmp_path / "out")
