"""Traces of the vision families: sound, the same from the same seed, and refused where knobs do not fit the shape."""

from pathlib import Path

import pytest
from small_traces import plain

from skipopu.spec.error import SpecError
from skipopu.trace import Event, EventKind, Router, Trace, dense_like, keys_per_query, read_trace, write_trace
from skipopu.trace.family import family, generate

FAMILIES = ("llava", "vica", "hidrop", "visipruner", "embedlens", "layer_fusion", "minireranker", "utptrack")
DRAWN = ("hidrop", "visipruner", "embedlens", "utptrack")
LANGUAGE = FAMILIES[:6]


def made(name: str, seed: int = 0, *knobs: str, decode: int = 2) -> Trace:
    return generate(name, prompt=20, decode=decode, seed=seed, knobs=knobs)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trace_survives_the_disk_and_has_a_dense_twin(name: str, tmp_path: Path) -> None:
    trace = made(name)
    write_trace(trace, tmp_path / "t.trace")
    back = read_trace(tmp_path / "t.trace")
    assert back == trace
    assert back.events == trace.events
    assert dense_like(back).rows("ffn").all()
    assert all(0 <= value <= 1 for key, value in trace.summary().items() if "skip" in key)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_decides_what_the_image_would(name: str) -> None:
    assert made(name, 3) == made(name, 3)
    rows = [made(name, seed).rows("kv") for seed in (3, 4)]
    assert (rows[0] != rows[1]).any() == (name in DRAWN)


@pytest.mark.parametrize("name", LANGUAGE)
def test_text_runs_in_every_layer_and_reads_all_earlier_text(name: str) -> None:
    trace = made(name)
    system, visual = 35, 576
    assert trace.rows("q")[:, system + visual :].all()
    assert trace.rows("kv")[:, :system].all()
    text = keys_per_query(trace)[:, -1] - trace.rows("kv")[:, system : system + visual].sum(axis=1)
    assert set(text) == {system + 20 + 2}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_knob_says_where_its_default_comes_from(name: str) -> None:
    known = family(name)
    assert set(known.knobs) == set(known.fields.bounds)
    assert all(leaf["source"].strip() for leaf in known.knobs.values())


@pytest.mark.parametrize(
    ("name", "knobs", "told"),
    [
        ("hidrop", ("keep=215,10",), r"keep = \[215, 10\]; expected 4 falling counts"),
        ("hidrop", ("keep=10,215,5,1",), "falling counts"),
        ("hidrop", ("exit=40",), "must rise and end at 32"),
        ("vica", ("cross_layers=3,32",), "must rise and end at 31"),
        ("visipruner", ("exit_layer=31.5",), "below 32"),
        ("visipruner", ("shallow=14",), "must rise"),
        ("embedlens", ("sink_share=0.8",), "sink_share \\+ dead_share = 1.1"),
        ("layer_fusion", ("decoder_layers=1",), "expected none with placement = external"),
        ("utptrack", ("filters=12",), "end at 11"),
        ("llava", ("visual=0",), "visual = 0; must be in 1"),
    ],
)
def test_knobs_that_do_not_fit_are_refused(name: str, knobs: tuple[str, ...], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        made(name, 0, *knobs)


def test_visual_tokens_before_nothing_need_no_system_segment() -> None:
    trace = made("llava", 0, "system=0")
    assert [s.type for s in trace.header.segments] == ["visual", "text"]


def test_a_fusion_names_its_layers_rows_and_kind(tmp_path: Path) -> None:
    inside = Event(EventKind.FUSE, 0, layer=1, rows=4, k=18, outcome=1)
    before = Event(EventKind.FUSE, 0, rows=4, k=3, outcome=0)
    trace = plain([6], 3, router=Router(), kv_policy="dense", events=[before, inside])
    write_trace(trace, tmp_path / "t.trace")
    assert read_trace(tmp_path / "t.trace").events == (before, inside)


@pytest.mark.parametrize(("missing", "left"), [("rows", {"k": 3, "outcome": 0}), ("k", {"rows": 4, "outcome": 0})])
def test_a_fusion_without_rows_or_vision_layer_is_refused(missing: str, left: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=f"event fuse at step 0: {missing} is missing"):
        plain([6], 3, events=[Event(EventKind.FUSE, 0, **left)])
