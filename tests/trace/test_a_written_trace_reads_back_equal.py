"""A trace survives the disk; the same trace always becomes the same bytes."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from small_traces import header, plain, traces

from skipopu.trace import Router, Trace, presets, read_trace, synthesize, write_trace


def through_the_disk(trace: Trace) -> tuple[Trace, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.trace"
        write_trace(trace, path)
        assert [p.name for p in Path(folder).iterdir()] == ["t.trace"]
        return read_trace(path), path.read_bytes()


@settings(max_examples=60)
@given(traces())
def test_any_trace_reads_back_equal(trace: Trace) -> None:
    back, _ = through_the_disk(trace)
    # field by field: the content hash must not vouch for itself
    assert back.header == trace.header
    assert back.events == trace.events
    assert set(back.arrays) == set(trace.arrays)
    for name, array in trace.all_arrays().items():
        np.testing.assert_array_equal(back.all_arrays()[name], array, strict=True)
    for kind in ("q", "kv", "ffn"):
        np.testing.assert_array_equal(back.rows(kind), trace.rows(kind))
    for name in trace.arrays:
        np.testing.assert_array_equal(back.array(name), trace.array(name))
    assert back == trace


@pytest.mark.parametrize("family", presets())
def test_a_preset_reads_back_equal(family: str) -> None:
    trace = synthesize(family, "llama3.2-3b", prompt=9, decode=3)
    back, _ = through_the_disk(trace)
    assert back.header == trace.header
    assert back.summary() == trace.summary()


def test_the_same_trace_gives_the_same_bytes() -> None:
    images = {through_the_disk(synthesize("wide50", "qwen3-1.7b", prompt=9, decode=3))[1] for _ in range(8)}
    assert len(images) == 1


def test_what_is_read_and_written_again_is_the_same_file(tmp_path: Path) -> None:
    back, image = through_the_disk(synthesize("dllm50", "qwen3-1.7b", prompt=9, decode=3))
    write_trace(back, tmp_path / "again.trace")
    assert (tmp_path / "again.trace").read_bytes() == image


def test_a_seed_decides_the_bytes() -> None:
    made = [synthesize("skipgpt", "qwen3-1.7b", prompt=9, decode=3, seed=seed) for seed in (0, 0, 1)]
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_the_hash_sees_header_and_arrays() -> None:
    rows = np.ones((3, 4), bool)
    rows[2, 1] = False
    hashes = {
        plain([4]).sha256,
        plain([4], version="2").sha256,
        plain([4], router=Router("mlp", 8)).sha256,
        plain([4], ffn=rows).sha256,
        plain([4], kv=np.ones((3, 4), bool), q=rows).sha256,
        plain([3, 1]).sha256,
        plain([4], token_ids=np.arange(4)).sha256,
    }
    assert len(hashes) == 7
    assert header() == header()


def test_the_layout_in_memory_does_not_matter() -> None:
    rows = np.arange(12).reshape(3, 4) % 5 > 0
    ids = np.arange(4, dtype=np.int32)
    usual = plain([4], q=rows, ffn=rows, token_ids=ids)
    odd = plain([4], q=np.asfortranarray(rows), ffn=rows[::-1, ::-1][::-1, ::-1], token_ids=ids[::-1][::-1])
    loose = Trace(odd.header, odd.steps, dict(odd.arrays) | {"token_ids": ids[::-1].copy()[::-1]})
    assert through_the_disk(usual)[1] == through_the_disk(odd)[1] == through_the_disk(loose)[1]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    write_trace(plain([2]), path)
    before = path.read_bytes()
    broken = plain([2])
    object.__setattr__(broken, "arrays", dict(broken.arrays) | {"rows_q": np.zeros((1, 1), np.uint8)})
    with pytest.raises(ValueError, match="rows_q"):
        write_trace(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
