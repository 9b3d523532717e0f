"""The commands end to end on a small model: what they print is what the files and the Python door say."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import skipopu as door
from skipopu.cli.doctor import REQUIRED
from skipopu.trace import dense_like, read_trace

FILES = [
    "events.parquet",
    "provenance.json",
    "report.html",
    "run.safetensors",
    "summary.json",
    "timeline.json",
]


def summary(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def result(simulated: Any) -> Path:
    return Path(simulated[0].directory)


def test_json_is_the_summary_and_nothing_else(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    said = skipopu("sim", small_trace, "--overlay", "tiny", "-o", tmp_path / "out", "--json")
    assert (said.status, said.err) == (0, "")
    assert said.out == (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")
    assert json.loads(said.out)["audit"]["failed"] == 0


def test_two_runs_are_byte_identical(simulated: Any) -> None:
    one, two = (run.directory for run in simulated)
    assert sorted(p.name for p in one.iterdir()) == FILES
    for file in FILES:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_the_python_door_gives_the_same_numbers(result: Path, small_trace: Path) -> None:
    told = summary(result)
    simulated = door.simulate(small_trace, "tiny")
    assert json.loads(json.dumps(simulated.summary)) == told
    assert simulated.to_polars().height == told["instructions"]
    assert door.simulate(read_trace(small_trace), *door.machine("tiny")).summary == simulated.summary


def test_a_setting_reaches_the_machine(skipopu: Any, small_trace: Path, tmp_path: Path, result: Path) -> None:
    deeper = tmp_path / "deeper"
    settings = ("--set", "pe_array.tree_stages=16", "--set", "board.hbm.timing.tRP=20")
    assert skipopu("sim", small_trace, "--overlay", "tiny", *settings, "-o", deeper).status == 0
    parameters = json.loads((deeper / "provenance.json").read_text(encoding="utf-8"))["parameters"]
    assert parameters["overlay"]["pe_array.tree_stages"]["value"] == 16
    assert parameters["board"]["hbm.timing.tRP"]["value"] == 20
    assert summary(result)["core_cycles"] < summary(deeper)["core_cycles"]


def test_the_headline_stands_beside_dense(simulated: Any, small_trace: Path) -> None:
    said, ours = simulated[0], summary(simulated[0].directory)["core_cycles"]
    dense = door.simulate(dense_like(read_trace(small_trace)), "tiny").summary["core_cycles"]
    line = next(line for line in said.out.splitlines() if line.startswith("core cycles"))
    assert line.split()[-3:] == [f"{dense:,}", f"{ours:,}", f"({ours / dense:.2f}×)"]
    assert "\x1b" not in said.out
    assert said.out.splitlines()[-1] == f"report: {said.directory / 'report.html'}"
    assert said.err == ""


def test_compare_reads_results_and_runs_traces(
    skipopu: Any, small_trace: Path, tmp_path: Path, result: Path
) -> None:
    said = skipopu("compare", result, result)
    assert said.status == 0
    assert "1.00×" in said.out
    said = skipopu("compare", small_trace, "--overlay", "tiny", "--overlay", "tiny")
    assert said.status == 0
    assert said.out.splitlines()[0].count("small on tiny") == 2


def test_a_finished_result_cannot_change_its_machine(skipopu: Any, result: Path) -> None:
    said = skipopu("compare", result, result, "--overlay", "tiny")
    assert (said.status, said.err.count("\n")) == (2, 1)


def test_report_draws_the_same_page_again(skipopu: Any, result: Path, tmp_path: Path) -> None:
    page = shutil.copytree(result, tmp_path / "copy") / "report.html"
    page.unlink()
    said = skipopu("report", page.parent)
    assert (said.status, said.out) == (0, f"{page}\n")
    assert page.read_bytes() == (result / "report.html").read_bytes()


def test_trace_describes_what_it_wrote(skipopu: Any, tmp_path: Path) -> None:
    out = tmp_path / "t.trace"
    said = skipopu("trace", "skipgpt", "--prompt", 16, "--decode", 4, "--skip", 0.5, "--seed", 3, "-o", out)
    assert (said.status, said.err) == (0, "")
    trace = read_trace(out)
    assert trace.sha256[:16] in said.out
    assert f"attention {trace.summary()['attention_skip']:.1%}" in said.out


def test_the_same_seed_gives_the_same_trace(skipopu: Any, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        skipopu("trace", "skipgpt", "--prompt", 8, "--decode", 2, "--seed", seed, "-o", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_the_shipped_model_reads_a_text(skipopu: Any, tmp_path: Path) -> None:
    text = tmp_path / "some.py"
    text.write_text("def area(width, height):\n    return width * height\n")
    options = ("--checkpoint", "shipped", "--text", text, "--prompt", 24, "--decode", 6)
    said = skipopu("trace", *options, "-o", tmp_path / "t.trace")
    assert (said.status, said.err) == (0, "")
    trace = read_trace(tmp_path / "t.trace")
    assert trace.header.provenance.kind == "trained-tiny"
    assert trace.token_ids is not None
    assert bytes(trace.token_ids[:24].tolist()) == text.read_bytes()[:24]
    said = skipopu("trace", *options[:4], "--prompt", 1000, "-o", tmp_path / "u.trace")
    assert (said.status, said.err.count("\n")) == (2, 1)


def test_doctor_names_every_requirement_and_tests_itself(skipopu: Any) -> None:
    said = skipopu("doctor")
    assert said.status == 0
    assert all(any(line.startswith(name) for line in said.out.splitlines()) for name in ("python", *REQUIRED))
    assert "self-test: " in said.out
    assert "none failed" in said.out


def test_doctor_fails_where_something_is_missing(skipopu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipopu.cli.doctor._version", lambda name: None if name == "numba" else "1.0")
    said = skipopu("doctor")
    assert said.status == 1
    assert "missing: numba" in said.out


def test_a_failed_check_is_status_one(
    skipopu: Any, small_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skipopu.sim import reference

    honest = reference.simulate

    def thief(*arguments: Any, **options: Any) -> Any:
        run = honest(*arguments, **options)
        return dataclasses.replace(run, core_cycles=run.core_cycles - 1)

    monkeypatch.setattr("skipopu.sim.reference.simulate", thief)
    said = skipopu("sim", small_trace, "--overlay", "tiny", "-o", tmp_path / "out")
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
    assert "audit" in said.err
    assert not (tmp_path / "out").exists()


def test_a_run_beyond_its_limit_is_status_one(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    said = skipopu("sim", small_trace, "--overlay", "tiny", "--max-cycles", 100, "-o", tmp_path / "out")
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
    assert "--max-cycles" in said.err
    assert not (tmp_path / "out").exists()


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from skipopu.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ("trace", "dense", "--prompt", "2", "--decode", "1", "-o", str(tmp_path / "t.trace"))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "t.trace").is_file()


def test_commands_without_torch_say_what_to_install(
    skipopu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "some.py"
    text.write_text("x = 1\n")
    monkeypatch.delitem(sys.modules, "skipopu.models.checkpoint", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    said = skipopu("trace", "--checkpoint", "shipped", "--text", text, "-o", tmp_path / "t.trace")
    assert said.status == 2
    assert "pip install 'skipopu[models]'" in said.err
