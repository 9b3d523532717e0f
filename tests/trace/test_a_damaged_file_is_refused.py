"""A reader takes a whole, known, unaltered trace or nothing, and says in one line why."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from small_traces import plain

from skipopu.spec.error import SpecError
from skipopu.trace import Event, EventKind, Trace, read_trace, synthesize, write_trace
from skipopu.trace.file import METADATA
from skipopu.trace.record import canonical
from skipopu.trace.schema import header_table

Edit = Callable[[dict[str, Any], dict[str, np.ndarray]], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def image(folder: Path) -> bytes:
    """A small routed trace with events."""
    path = folder / "whole.trace"
    events = [Event(EventKind.DECISION_OP, 0, outcome=1)]
    write_trace(plain([5, 3], token_ids=np.arange(8), events=events), path)
    return path.read_bytes()


def refusal(path: Path, content: bytes) -> str:
    """Write ``content`` and return the message of the refusal, which is one line and names the file."""
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(path.name)
    return message


def test_a_truncated_file_is_refused_at_every_length(folder: Path, image: bytes) -> None:
    for length in range(len(image)):
        assert "not a whole trace file" in refusal(folder / "cut.trace", image[:length])


def test_trailing_bytes_are_refused(folder: Path, image: bytes) -> None:
    assert "not a whole trace file" in refusal(folder / "long.trace", image + b"\0")


def test_a_flipped_bit_anywhere_is_refused(folder: Path, image: bytes) -> None:
    for place in range(len(image)):
        flipped = bytearray(image)
        flipped[place] ^= 1 << (place % 8)
        refusal(folder / "flip.trace", bytes(flipped))


@settings(max_examples=150)
@given(data=st.data())
def test_a_scrambled_stretch_is_refused(folder: Path, image: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(image) - 1))
    stretch = data.draw(st.binary(min_size=1, max_size=40))
    scrambled = image[:start] + stretch + image[start + len(stretch) :]
    if scrambled != image:
        refusal(folder / "scrambled.trace", scrambled)


@settings(max_examples=50)
@given(st.binary(max_size=64))
def test_any_other_file_is_refused(folder: Path, content: bytes) -> None:
    refusal(folder / "other.trace", content)


def forged(image_of: Trace, edit: Edit) -> bytes:
    """A file as a foreign writer with the right hash might write it."""
    header, arrays = header_table(image_of.header), dict(image_of.all_arrays())
    text = edit(header, arrays)
    if text is None:
        text = canonical({"header": header, "sha256": image_of.sha256})
    return save(arrays, metadata={METADATA: text})


def _set(key: str, value: Any) -> Edit:
    def edit(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        node = header
        *outer, last = key.split(".")
        for name in outer:
            node = node[name]
        node[last] = value

    return edit


def _array(name: str, array: np.ndarray | None) -> Edit:
    def edit(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        del header
        if array is None:
            del arrays[name]
        else:
            arrays[name] = array

    return edit


def _text(text: str) -> Edit:
    return lambda *_: text


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_set("schema", 2), "header.schema = 2; this version reads 1"),
        (_set("schema", True), "header.schema = True; expected int"),
        (_set("colour", "red"), "unknown key header.colour"),
        (_set("kv_polcy", "dense"), "did you mean 'kv_policy'?"),
        (_set("kv_policy", "keep"), "kv_policy = 'keep'; expected one of dense, reuse_last, evict"),
        (_set("kv_policy", 3), "header.kv_policy = 3; expected str"),
        (_set("router.kind", "oracle"), "router.kind = 'oracle'; expected one of"),
        (_set("router.hidden", 1.5), "header.router.hidden = 1.5; expected int"),
        (_set("router.hidden", 2**70), "expected a 64-bit integer"),
        (_set("router", None), "header.router = None; expected a table"),
        (_set("segments", [{"type": "text", "first": 0}]), "missing key header.segments[0].count"),
        (_set("segments", 7), "header.segments = 7; expected a list"),
        (_set("shape.dimensions.layers", 0), "layers = 0; must be in 1..1024"),
        (_set("shape.dimensions.layers", 4), "'rows_ffn' has 3 along layers; expected 4"),
        (_set("shape.dimensions", {}), "missing key header.shape.dimensions.layers"),
        (_set("shape.source", "x"), "unknown key header.shape.source"),
        (_set("shape", None), "header.shape = None; expected a table"),
        (_set("provenance.kind", "guess"), "provenance.kind = 'guess'; expected one of measured"),
        (_set("dtypes.kv", "fp17"), "dtypes.kv = 'fp17'; expected one of"),
        (_set("version", "2"), "the file was altered"),
        (_array("extra", np.zeros(1, np.uint8)), "array 'extra' is not in schema 1"),
        (_array("rows_qq", np.zeros(1, np.uint8)), "did you mean 'rows_q'?"),
        (_array("rows_q", None), "array 'rows_q' is missing"),
        (_array("step_phase", None), "array 'step_phase' is missing"),
        (_array("step_phase", np.zeros((2, 1), np.uint8)), "'step_phase' has 2 axes; expected 1"),
        (_array("step_token_count", np.asarray([5, 3])), "'step_token_count' has type int64; expected int32"),
        (_array("rows_ffn", np.zeros((3, 2), np.uint8)), "'rows_ffn' has 2 along tokens; expected 1"),
        (_array("token_ids", np.arange(7, dtype=np.int32)), "'token_ids' has 7 along tokens; expected 8"),
        (_array("token_ids", np.arange(8, dtype=np.int32)[::-1].copy()), "the file was altered"),
        (_array("event_kind", None), "array 'event_kind' is missing beside"),
        (_array("event_kind", np.asarray([9], np.uint8)), "array 'event_kind' holds 9; expected 0..8"),
        (_array("event_kept_offsets", np.asarray([1, 0])), "'event_kept_offsets' must rise from 0 to 0"),
        (_text("{}"), "missing key metadata.header"),
        (_text("[]"), "the header is not a table"),
        (_text('{"header": 1}'), "not in canonical form"),
        (_text('{"a":NaN}'), "NaN is not a number"),
        (_text("[" * 5000), "the header is not the JSON skipopu writes"),
        (_text('{"header":{"a\\nb":1},"sha256":""}'), "header.schema = None"),
    ],
)
def test_a_forged_file_is_refused_with_the_place(folder: Path, edit: Edit, told: str) -> None:
    trace = plain([5, 3], token_ids=np.arange(8), events=[Event(EventKind.DECISION_OP, 0, outcome=1)])
    assert told in refusal(folder / "forged.trace", forged(trace, edit))


def test_padding_bits_must_be_zero(folder: Path) -> None:
    trace = plain([5])
    packed = trace.arrays["rows_q"] | 1
    told = refusal(folder / "padded.trace", forged(trace, _array("rows_q", packed)))
    assert "array 'rows_q' has bits set beyond its 5 columns" in told


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {METADATA: "{}", "more": ""}])
def test_a_checkpoint_is_not_a_trace(folder: Path, metadata: dict[str, str] | None) -> None:
    content = save({"weight": np.zeros(3, np.float32)}, metadata=metadata)
    assert "metadata keys" in refusal(folder / "model.safetensors", content)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "I4"])
def test_a_type_numpy_lacks_is_refused(folder: Path, dtype: str) -> None:
    body = json.dumps({"rows_q": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]}}).encode()
    refusal(folder / "dtype.trace", len(body).to_bytes(8, "little") + body + bytes(4))


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.trace", tmp_path):
        with pytest.raises(SpecError, match="no such file"):
            read_trace(path)


def test_an_unwritable_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken.trace").mkdir()
    (tmp_path / "file").write_text("")
    trace = plain([2])
    for place in ("absent/t.trace", "taken.trace", "file/t.trace", "x" * 300):
        with pytest.raises(SpecError, match=r"cannot be written \(.+\); choose another path"):
            write_trace(trace, tmp_path / place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken.trace"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_trace(plain([2]), tmp_path / "t.trace")
    assert list(tmp_path.iterdir()) == []


def test_a_large_synthetic_trace_is_refused_when_cut(folder: Path) -> None:
    write_trace(synthesize("skipgpt25"), folder / "7b.trace")
    content = (folder / "7b.trace").read_bytes()
    for length in range(0, len(content), 1009):
        refusal(folder / "cut7b.trace", content[:length])
