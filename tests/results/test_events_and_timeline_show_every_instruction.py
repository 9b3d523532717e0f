"""The retire stream survives its files: Parquet row by row, Chrome trace events slice by slice."""

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from skipopu.results import events, timeline
from skipopu.results.events import opcode_names
from skipopu.spec.ledger import Block, Traffic

COLUMNS = ["instruction", "engine", "opcode", "phase", "step", "layer", "issue", "first", "last"]


@pytest.fixture(scope="module")
def table(case):
    return case.result().to_polars()


@pytest.fixture(scope="module")
def shown(case, tmp_path_factory):
    path = tmp_path_factory.mktemp("timeline") / "timeline.json"
    timeline.write(path, case.result().record())
    return json.loads(path.read_text())


def slices(shown):
    return [event for event in shown["traceEvents"] if event["ph"] == "X"]


def test_a_row_is_an_instruction(case, table):
    assert table.columns == COLUMNS
    retired = case.run.retired
    assert table.height == len(retired.step)
    assert table["engine"].cast(pl.String).to_list() == [Block(e).label for e in retired.engine]
    assert table["opcode"].cast(pl.String).to_list() == [opcode_names()[o] for o in retired.opcode]
    assert table["phase"].cast(pl.String).to_list() == ["decode" if s else "prefill" for s in retired.step]
    for name in ("step", "layer", "issue", "first", "last"):
        np.testing.assert_array_equal(table[name].to_numpy(), getattr(retired, name))


def test_parquet_round_trip(case, table, tmp_path):
    path = tmp_path / "events.parquet"
    events.write(path, table)
    assert pl.read_parquet(path).equals(table)
    for name, column in vars(events.read(path, opcode_names())).items():
        np.testing.assert_array_equal(column, getattr(case.run.retired, name))


def test_a_slice_spans_first_to_last_cycle(case, shown):
    retired, mhz = case.run.retired, case.overlay.clock.core_mhz
    assert len(slices(shown)) == len(retired.step)  # a short run is shown whole
    for event in slices(shown):
        i = event["args"]["instruction"]
        assert event["ts"] == pytest.approx(retired.first[i] / mhz, abs=1e-6)
        assert event["dur"] == pytest.approx((retired.last[i] + 1 - retired.first[i]) / mhz, abs=1e-6)
        assert (event["args"]["step"], event["args"]["layer"]) == (retired.step[i], retired.layer[i])
        assert event["args"]["waited_cycles"] == retired.first[i] - retired.issue[i]


def test_slices_of_a_track_do_not_overlap(shown):
    """Perfetto drops slices of one track that overlap without nesting."""
    tracks = {}
    for event in slices(shown):
        tracks.setdefault(event["tid"], []).append(
            (event["args"]["first_cycle"], event["args"]["last_cycle"])
        )
    for spans in tracks.values():
        spans.sort()
        assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_every_track_is_named_after_its_engine(case, shown):
    named = {e["tid"]: e["args"]["name"] for e in shown["traceEvents"] if e.get("name") == "thread_name"}
    assert {event["tid"] for event in slices(shown)} == set(named)
    for event in slices(shown):
        engine = Block(int(case.run.retired.engine[event["args"]["instruction"]]))
        assert named[event["tid"]].split(" +")[0] == engine.label


def test_instructions_that_overlap_get_lanes(case, tmp_path):
    retired = case.run.retired
    last = np.where(retired.engine == Block.PE_ARRAY, retired.last + 200, retired.last)
    record = case.with_run(retired=type(retired)(**{**vars(retired), "last": last}))
    path = tmp_path / "timeline.json"
    timeline.write(path, type(case.result().record())(**{**vars(case.result().record()), "run": record.run}))
    overlapped = json.loads(path.read_text())
    test_slices_of_a_track_do_not_overlap(overlapped)
    names = [e["args"]["name"] for e in overlapped["traceEvents"] if e.get("name") == "thread_name"]
    assert {"pe_array", "pe_array +1"} <= set(names)


def test_counters_integrate_to_the_bytes_moved(case, shown):
    samples = [e for e in shown["traceEvents"] if e["ph"] == "C" and e["name"] == "HBM GB/s"]
    times = [sample["ts"] for sample in samples]
    moved = sum(
        (end - begin) * sample["args"]["weights"] * 1e3
        for begin, end, sample in zip(times, times[1:], samples, strict=False)
    )
    assert moved == pytest.approx(int(case.run.traffic[:, Traffic.WEIGHTS].sum()), rel=1e-3)
    assert set(samples[-1]["args"].values()) == {0}


def test_long_runs_show_their_ends(case, monkeypatch, tmp_path):
    monkeypatch.setattr(timeline, "DECODE_STEPS", 1)
    record = case.result().record()
    steps = np.unique(case.run.retired.step[timeline.shown_instructions(record)])
    assert steps.tolist() == [0, 1, 4]
    monkeypatch.setattr(timeline, "SLICES", 10)
    monkeypatch.setattr(timeline, "SAMPLES", 16)
    timeline.write(tmp_path / "timeline.json", record)
    capped = json.loads((tmp_path / "timeline.json").read_text())
    assert len(slices(capped)) == 10
    assert sum(event["ph"] == "C" for event in capped["traceEvents"]) <= 2 * (16 + 1)
    assert capped["otherData"]["shown"].startswith(f"10 of {len(record.run.retired.step)} instructions")
