"""What `skipopu kv` prints and writes: the same counts as the whole machine, the same bytes every time."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kv_traces import SIXTEEN, even_tokens, written

KV_FILES = ["kv.json", "provenance.json", "schedule.svg"]


def record(skipopu: Any, *arguments: object) -> dict[str, Any]:
    said = skipopu("kv", *arguments, "--json")
    assert (said.status, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


@pytest.mark.parametrize("buffer", ["on", "off"])
def test_bytes_and_storage_are_those_of_a_whole_simulation(
    skipopu: Any, small_trace: Path, tmp_path: Path, buffer: str
) -> None:
    found = record(skipopu, small_trace, "--overlay", "tiny", "--buffer", buffer)
    options = ("--overlay", "tiny", "--kv-buffer", buffer, "-o", tmp_path / "out", "--json")
    whole = json.loads(skipopu("sim", small_trace, *options).out)["kv"]
    prefill = record(skipopu, small_trace, "--overlay", "tiny", "--buffer", buffer, "--phase", "prefill")
    assert found["hbm_bytes"] == whole["hbm_bytes_read"]
    assert found["buffer_bytes"] == whole["buffer_bytes_read"]
    assert prefill["buffer_bytes"] == 0
    assert prefill["hbm_bytes"] > 0
    assert found["storage"]["reuse_last"]["bytes_stored"] == whole["bytes_stored"]
    assert found["storage"]["dense"]["bytes_stored"] == whole["bytes_dense"]


def test_storage_counts_the_vectors_of_each_policy(skipopu: Any, tmp_path: Path) -> None:
    """A vector is two heads of 32 FP16 elements: 128 bytes; K and V 256. Layer 1 runs 9 of 16 tokens."""
    path = written(tmp_path / "two.trace", np.stack([np.ones(SIXTEEN, bool), even_tokens()]))
    found = record(skipopu, path, "--overlay", "tiny")["storage"]
    assert {policy: f["bytes_stored"] for policy, f in found.items()} == {
        "dense": 32 * 256, "reuse_last": 25 * 256, "evict": 25 * 256,
    }  # fmt: skip
    assert {policy: f["bytes_read_per_step"] for policy, f in found.items()} == {
        "dense": 32 * 256, "reuse_last": 32 * 256, "evict": 25 * 256,
    }  # fmt: skip


def test_bandwidths_are_bytes_over_the_time_of_the_reads(skipopu: Any, small_trace: Path) -> None:
    found = record(skipopu, small_trace, "--overlay", "tiny")
    seconds = found["cycles"] / 225e6
    assert found["effective_bandwidth"] == pytest.approx((found["hbm_bytes"] + found["buffer_bytes"]) / seconds)
    assert found["physical_bandwidth"] == pytest.approx(found["hbm_bytes"] / seconds)
    assert found["peak_bandwidth"] == 2 * 2 * 32 * 225e6  # ports, beats a core cycle, bytes
    assert sum(found["cycles_by_cause"].values()) == found["cycles"]


def test_one_step_in_so_many_is_said_and_nothing_is_extrapolated(skipopu: Any, small_trace: Path) -> None:
    every = record(skipopu, small_trace, "--overlay", "tiny")
    some = record(skipopu, small_trace, "--overlay", "tiny", "--every", 3)
    assert (every["passes"], some["passes"], some["of_passes"]) == ([0, 1, 2, 3], [1], 4)
    assert 0 < some["hbm_bytes"] < every["hbm_bytes"] / 2
    said = skipopu("kv", small_trace, "--overlay", "tiny", "--every", 3).out
    assert "decode step 1 (1 of 4, one in 3); all figures are theirs alone, nothing is extrapolated" in said


def test_a_short_option_is_the_setting_it_stands_for(skipopu: Any, small_trace: Path) -> None:
    short = record(skipopu, small_trace, "--overlay", "tiny", "--map", "interleaved", "--ports", 4)
    settings = ("kv_buffer.map=interleaved", "kv_buffer.enabled=false", "dma.hbm_ports=4")
    long = record(skipopu, small_trace, "--overlay", "tiny", *(word for s in settings for word in ("--set", s)))
    assert short == long
    assert (short["memory"]["map"], short["memory"]["hbm_ports"], short["buffer_bytes"]) == ("interleaved", 4, 0)


def test_compare_takes_the_short_options_too(skipopu: Any, small_trace: Path) -> None:
    short = skipopu("compare", small_trace, small_trace, "--overlay", "tiny", "--kv-map", "interleaved", "--ports", 4)
    settings = ("kv_buffer.map=interleaved", "kv_buffer.enabled=false", "dma.hbm_ports=4")
    given = (word for setting in settings for word in ("--set", setting))
    long = skipopu("compare", small_trace, small_trace, "--overlay", "tiny", *given)
    assert (short.status, short.err) == (0, "")
    assert short == long


def test_port_use_is_that_of_the_rounds(skipopu: Any, tmp_path: Path) -> None:
    """By hand: eight rounds of K, 28 entries of HBM; port 1 gives 4 + 4 tokens, port 2 gives 4 + 2."""
    path = written(tmp_path / "two.trace", np.stack([np.ones(SIXTEEN, bool), even_tokens()]))
    machine = ("--ports", 4, "--set", "kv_buffer.capacity_bytes=1024", "--set", "pe_array.columns=12")
    found = record(skipopu, path, "--overlay", "tiny", *machine)
    assert (found["rounds"], found["hbm_entries"], found["buffer_entries"]) == (8, 28, 4)
    assert found["port_use"] == {"hbm": 28 / 32, "hbm_least": 6 / 8, "hbm_most": 8 / 8, "buffer": 4 / 16}


def test_two_runs_write_the_same_bytes(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        said = skipopu("kv", small_trace, "--overlay", "tiny", "-o", tmp_path / name)
        assert said.status == 0
        assert said.out.splitlines()[-1] == f"picture: {tmp_path / name / 'schedule.svg'}"
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == KV_FILES
    for file in KV_FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_json_is_the_file_and_nothing_else(skipopu: Any, small_trace: Path, tmp_path: Path) -> None:
    said = skipopu("kv", small_trace, "--overlay", "tiny", "-o", tmp_path / "out", "--json")
    assert said.out == (tmp_path / "out" / "kv.json").read_text(encoding="utf-8")


def test_the_picture_has_a_cell_for_every_entry(skipopu: Any, tmp_path: Path) -> None:
    """Sixteen tokens in each of two layers, four of them kept."""
    path = written(tmp_path / "two.trace", np.stack([np.ones(SIXTEEN, bool), even_tokens()]))
    machine = ("--overlay", "tiny", "--ports", 4, "--set", "kv_buffer.capacity_bytes=1024")
    assert skipopu("kv", path, *machine, "-o", tmp_path / "out").status == 0
    svg = (tmp_path / "out" / "schedule.svg").read_text(encoding="utf-8")
    collections = re.findall(r'<g id="PatchCollection_\d+">(.*?)</g>', svg, re.DOTALL)
    assert sum(group.count("<path") for group in collections) == 2 * SIXTEEN + 4


@pytest.fixture(scope="session")
def two_skips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same steps with two different masks."""
    folder = tmp_path_factory.mktemp("masks")
    odd = ~even_tokens() | (np.arange(SIXTEEN) == SIXTEEN - 1)
    first = written(folder / "a.trace", np.stack([np.ones(SIXTEEN, bool), even_tokens(), odd]), decode=3)
    return first, written(folder / "b.trace", np.stack([np.ones(SIXTEEN, bool), odd, even_tokens()]), decode=3)


def test_the_four_configurations_stand_in_one_table(skipopu: Any, two_skips: tuple[Path, Path], tmp_path: Path) -> None:
    """The dense model of both traces is one; each row is what its configuration gives alone."""
    found = record(skipopu, *two_skips, "--configurations", "--overlay", "tiny", "-o", tmp_path / "out")
    rows = found["configurations"]
    reuse = [f"{t}: reuse_last, {c}" for t in "ab" for c in ("interleaved", "token-wise", "token-wise, buffer")]
    assert [row["name"] for row in rows] == ["dense, interleaved", *reuse]
    alone = [("--map", "interleaved"), ("--buffer", "off"), ("--buffer", "on")]
    for row, path, options in zip(rows[1:], [p for p in two_skips for _ in alone], alone * 2, strict=True):
        single = record(skipopu, path, "--overlay", "tiny", *options)
        assert {key: row[key] for key in single.keys() & row.keys()} == {
            key: single[key] for key in single.keys() & row.keys()
        }
    dense = rows[0]
    assert dense["hbm_bytes"] == sum(3 * 256 * seen for seen in (14, 15, 16))
    assert (dense["speedup"], dense["buffer_bytes"]) == (1.0, 0)
    assert all(row["speedup"] == pytest.approx(dense["seconds"] / row["seconds"]) for row in rows)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["kv.json", "provenance.json"]
