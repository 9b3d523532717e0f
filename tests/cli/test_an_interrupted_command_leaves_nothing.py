"""Ctrl-C says so in one line, with status 2, and leaves the disk as it was."""

import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

SIMULATING, REPORTING = "skipopu.sim.reference.simulate", "skipopu.results.report.report"
INTERRUPTED = "skipopu: interrupted; nothing was written\n"


def interrupt(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "place",
    [
        "skipopu.program.compiler.compile_trace",
        SIMULATING,
        "skipopu.results.directory.save_arrays",
        REPORTING,
        "skipopu.results.timeline.write",
    ],
)
def test_an_interrupted_simulation_leaves_nothing(
    skipopu: Any, small_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(place, interrupt)
    said = skipopu("sim", small_trace, "--overlay", "tiny", "-o", tmp_path / "out")
    assert (said.status, said.out, said.err) == (2, "", INTERRUPTED)
    assert list(tmp_path.iterdir()) == [small_trace]


@pytest.mark.parametrize("place", [SIMULATING, REPORTING])
def test_an_earlier_result_survives(
    skipopu: Any,
    small_trace: Path,
    simulated: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(simulated[0].directory, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    monkeypatch.setattr(place, interrupt)
    said = skipopu("sim", small_trace, "--overlay", "tiny", "--set", "pe_array.tree_stages=9", "-o", out)
    assert (said.status, said.err) == (2, INTERRUPTED)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert sorted(tmp_path.iterdir()) == [out, small_trace]


@pytest.mark.parametrize("place", ["skipopu.trace.family.synthesize", "skipopu.trace.file.os.replace"])
def test_an_interrupted_trace_leaves_nothing(
    skipopu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(place, interrupt)
    said = skipopu("trace", "dense", "--prompt", 2, "--decode", 1, "-o", tmp_path / "t.trace")
    assert (said.status, said.out, said.err) == (2, "", INTERRUPTED)
    assert list(tmp_path.iterdir()) == []
