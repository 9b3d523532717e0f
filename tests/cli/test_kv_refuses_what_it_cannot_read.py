"""Whatever is wrong with a `skipopu kv` command: one line that names it, status 2, nothing written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kv_traces import written

from skipopu.sim.error import DeadlockError


def refused(skipopu: Any, folder: Path, *arguments: object) -> str:
    before = sorted(folder.rglob("*"))
    said = skipopu("kv", *arguments)
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1), said.err
    assert sorted(folder.rglob("*")) == before
    return str(said.err)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--map", "spread"), ["--map", "spread", "token_wise", "interleaved"]),
        (("--buffer", "maybe"), ["--buffer", "maybe", "on", "off"]),
        (("--ports", 0), ["dma.hbm_ports = 0", "1..64"]),
        (("--ports", 65), ["dma.hbm_ports = 65", "nearest: 64"]),
        (("--ports", 33), ["dma.hbm_ports = 33", "board u280 has 32"]),
        (("--ports", 4, "--set", "dma.hbm_ports=8"), ["--set dma.hbm_ports", "give one"]),
        (("--map", "interleaved", "--buffer", "on"), ["kv_buffer.enabled = true", "interleaved", "nearest: false"]),
        (("--set", "kv_buffer.ports=33"), ["kv_buffer.ports = 33", "nearest: 32"]),
        (("--set", "kv_buffer.port=3"), ["kv_buffer.port", "did you mean 'kv_buffer.ports'"]),
        (("--every", 0), ["--every 0", "1..4"]),
        (("--every", 5), ["--every 5", "4 decode passes", "1..4"]),
        (("--step", 4), ["--step 4", "0..3"]),
        (("--step", -1), ["--step -1", "0..3"]),
        (("--layers", 2), ["--layers 2", "layers 0..1"]),
        (("--layers", "1-0"), ["--layers 1-0", "0-1"]),
        (("--layers", "0-"), ["--layers 0-", "0-3,7"]),
        (("--layers", ""), ["--layers", "0-3,7"]),
        (("--phase", "encode"), ["--phase", "encode", "decode", "prefill"]),
        (("--configurations", "--list"), ["--list", "--configurations"]),
        (("--configurations", "--map", "token_wise"), ["--map token_wise", "--configurations"]),
        (("--configurations", "--set", "kv_buffer.enabled=true"), ["--set kv_buffer.enabled=true", "--configurations"]),
        (("--overlay", "no-such"), ["no-such", "shipped:"]),
    ],
)
def test_a_bad_option_is_named_with_what_is_valid(
    skipopu: Any, small_trace: Path, tmp_path: Path, options: tuple[object, ...], told: list[str]
) -> None:
    overlay = () if "--overlay" in options else ("--overlay", "tiny")
    line = refused(skipopu, tmp_path, small_trace, *overlay, *options)
    assert [word for word in told if word not in line] == [], line


def test_a_second_trace_needs_configurations(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    line = refused(skipopu, tmp_path, small_trace, small_trace, "--overlay", "tiny")
    assert "--configurations" in line
    line = refused(skipopu, tmp_path, small_trace, small_trace, "--overlay", "tiny", "--configurations")
    assert "given twice" in line


def test_a_trace_without_decode_offers_its_prefill(skipopu: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "prompt.trace", np.ones((2, 8), bool), decode=0)
    assert "--phase prefill" in refused(skipopu, tmp_path, path, "--overlay", "tiny")
    assert skipopu("kv", path, "--overlay", "tiny", "--phase", "prefill").status == 0


def test_a_file_that_is_no_trace_is_named(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    assert "none.trace" in refused(skipopu, tmp_path, tmp_path / "none.trace", "--overlay", "tiny")
    small_trace.write_bytes(small_trace.read_bytes()[:100])
    assert "small.trace" in refused(skipopu, tmp_path, small_trace, "--overlay", "tiny", "--configurations")


def test_a_place_with_other_files_is_refused_before_anything_runs(
    skipopu: Any, small_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skipopu.results.kv_reads.stream", lambda *_: pytest.fail("streamed for nothing"))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    for place in (tmp_path / "thesis", small_trace, small_trace / "out"):
        assert str(place) in refused(skipopu, tmp_path, small_trace, "--overlay", "tiny", "-o", place)


@pytest.mark.parametrize("place", ["skipopu.sim.kv_stream.read_pass", "skipopu.results.kv_picture.svg_text"])
def test_an_interrupt_leaves_nothing(
    skipopu: Any, small_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    line = refused(skipopu, tmp_path, small_trace, "--overlay", "tiny", "-o", tmp_path / "out")
    assert line == "skipopu: interrupted; nothing was written\n"


def test_a_stream_that_stops_is_a_failed_check(
    skipopu: Any, small_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_: object) -> None:
        raise DeadlockError(9, 5, ["kv_buffer: K of layer 0 waits for hbm"])

    monkeypatch.setattr("skipopu.results.kv_reads.stream", stuck)
    said = skipopu("kv", small_trace, "--overlay", "tiny", "-o", tmp_path / "out")
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
    assert "K of layer 0" in said.err
    assert not (tmp_path / "out").exists()
