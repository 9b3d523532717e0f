"""`skipopu sim` and `compare` of wait-k on a small model: what they print, what a larger k or a slower source does."""

import json
from pathlib import Path
from typing import Any

import pytest

import skipopu as door
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Trace, write_trace
from skipopu.trace.families import streaming_thinker, wait_k

FAST, SLOW = 1e6, 1e4  # words a second; a word takes the small machine about 50 µs
KS = (1, 2, 4, 9)


def streamed(shape: ModelShape, k: int, rate: float, target: int = 6) -> Trace:
    return wait_k.make(shape, 6, target, 1, wait_k.Knobs(k, 0, 2, 1.0, 1.0, rate))


@pytest.fixture(scope="module")
def results(small_shape: ModelShape) -> dict[tuple[int, float], Any]:
    """Runs of every k at both rates."""
    pairs = [(k, rate) for k in KS for rate in (FAST, SLOW)]
    return {(k, rate): door.simulate(streamed(small_shape, k, rate), "tiny") for k, rate in pairs}


@pytest.mark.parametrize("rate", [FAST, SLOW])
def test_a_larger_k_never_has_the_first_word_earlier(results: Any, rate: float) -> None:
    first = [results[k, rate].summary["streaming"]["first_word"]["since_first_source_word"] for k in KS]
    assert first == sorted(first)
    assert first[-1] > first[0]


def test_the_lag_in_words_is_that_of_the_policy(results: Any) -> None:
    for (k, _), result in results.items():
        assert result.summary["streaming"]["al_words"] == pytest.approx(min(k, 6))


def test_a_machine_that_keeps_up_waits_for_its_source(results: Any) -> None:
    for k in KS:
        fast, slow = (results[k, rate].summary["streaming"] for rate in (FAST, SLOW))
        assert fast["input_late"] < 0.05
        assert slow["input_late"] > 0.2
        assert min(s["al_seconds"] - s["without_computation"]["al_seconds"] for s in (fast, slow)) > 0


def test_a_source_too_fast_leaves_the_target_behind_word_by_word(results: Any) -> None:
    fast, slow = (results[1, rate].summary["streaming"] for rate in (FAST, SLOW))
    behind = [s["al_seconds"] - s["without_computation"]["al_seconds"] for s in (fast, slow)]
    assert behind[0] > 2 * behind[1] > 0


def test_reads_and_writes_have_rates_that_the_machine_can_have(results: Any) -> None:
    for result in results.values():
        s = result.summary
        shared = s["prefill"]["core_cycles"] + s["decode"]["core_cycles"] + s["streaming"]["input_late_cycles"]
        assert 0 <= s["core_cycles"] - shared <= 1  # the HALT
        for phase in ("prefill", "decode"):
            assert 0 < s[phase]["pe_array"]["utilization"] < 1
            assert 0 < s[phase]["hbm"]["utilization"] < 1


def test_a_source_that_outlasts_its_target_is_read_to_its_end(skipopu: Any, small_shape: Any, tmp_path: Path) -> None:
    path, out = tmp_path / "t.trace", tmp_path / "out"
    trace = streamed(small_shape, 1, SLOW, target=2)
    write_trace(trace, path)
    assert skipopu("sim", path, "--overlay", "tiny", "-o", out).status == 0
    s = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (s["streaming"]["source_words"], s["streaming"]["target_words"]) == (6, 2)
    assert s["seconds"] > 6 / SLOW
    assert "Behind the source" in (out / "report.html").read_text(encoding="utf-8")


def test_sentences_count_like_words(small_shape: ModelShape) -> None:
    knobs = streaming_thinker.Knobs(2, 4.0, 2.0, 0.0, 0, FAST)
    s = door.simulate(streaming_thinker.make(small_shape, 12, 10, 1, knobs), "tiny").summary["streaming"]
    assert s["source_words"] < 12
    first = s["first_word"]
    assert first["since_first_source_word"] == pytest.approx(first["since_awaited_source_word"])


def test_rows_of_lags_stand_side_by_side(
    skipopu: Any, small_shape: ModelShape, written_trace: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / f"wait-{k}.trace" for k in (1, 4)]
    for k, path in zip((1, 4), paths, strict=True):
        write_trace(streamed(small_shape, k, FAST), path)
    said = skipopu("compare", *paths, "--overlay", "tiny")
    assert said.status == 0
    line = next(line for line in said.out.splitlines() if line.startswith("AL of the policy"))
    assert line.split()[-3:] == ["1.000", "4.000", "(4.00×)"]
    assert "first word since the one waited for" in said.out
    assert "idle because input was late" in said.out
    said = skipopu("compare", paths[0], written_trace, "--overlay", "tiny")
    assert "first word" not in said.out
