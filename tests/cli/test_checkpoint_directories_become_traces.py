"""`skipopu trace --checkpoint` on directories that transformers wrote: a Llama, a LLaVA with and without an image."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Command

from skipopu.trace import read_trace

pytest.importorskip("transformers")
from llava_directory import IMAGE_TOKEN, PATCHES, pixels, write_llama, write_llava, write_tokenizer

WORDS = "w3 w14 w15 <image> w9 w26 w5"


@pytest.fixture
def llava(tmp_path: Path) -> Path:
    directory = tmp_path / "tiny-llava"
    write_llava(directory)
    write_tokenizer(directory)
    (tmp_path / "text").write_text(WORDS)
    np.save(tmp_path / "image.npy", pixels())
    return directory


def test_a_llama_directory_becomes_a_trace(skipopu: Command, tmp_path: Path) -> None:
    directory = tmp_path / "tiny-llama"
    write_llama(directory)
    write_tokenizer(directory)
    (tmp_path / "text").write_text("w1 w2 w3 w4 w5")
    out = tmp_path / "t.trace"
    said = skipopu(
        "trace", "--checkpoint", directory, "--text", tmp_path / "text", "--prompt", 4, "--decode", 3, "-o", out
    )
    assert said.status == 0, said.err
    trace = read_trace(out)
    assert trace.token_ids is not None
    assert trace.token_ids[:4].tolist() == [1, 2, 3, 4]
    assert (trace.header.family, trace.header.shape.name, trace.tokens) == ("dense", "tiny-llama", 7)
    assert trace.header.provenance.kind == "measured"


def test_a_llava_directory_with_an_image_becomes_a_trace(skipopu: Command, llava: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "t.trace", ("--text", tmp_path / "text", "--prompt", 7, "--decode", 3)
    said = skipopu("trace", "--checkpoint", llava, *options, "--image", tmp_path / "image.npy", "-o", out)
    assert said.status == 0, said.err
    trace = read_trace(out)
    parts = [(segment.type, segment.count) for segment in trace.header.segments]
    assert parts == [("system", 3), ("visual", PATCHES), ("text", 3 + 3)]
    assert trace.header.provenance.source == "checkpoint tiny-llava, text text, image image.npy"
    assert trace.token_ids is not None
    assert (trace.token_ids[3 : 3 + PATCHES] == IMAGE_TOKEN).all()
    assert f"{6 + PATCHES} prompt + 3 decode tokens" in said.out + said.err


@pytest.mark.parametrize(
    ("prompt", "image", "reason"),
    [
        (7, None, "the text has an image token; give --image FILE.npy, or take the token out"),
        (3, "image.npy", "the prompt has 0 image tokens (id 95); put one, usually <image>"),
        (7, "text", "give a .npy file of pixels"),
    ],
)
def test_what_does_not_go_together_is_refused(
    skipopu: Command, llava: Path, tmp_path: Path, prompt: int, image: str | None, reason: str
) -> None:
    options = ("--text", tmp_path / "text", "--prompt", prompt, "--decode", 1, "-o", tmp_path / "t.trace")
    shown = ("--image", tmp_path / image) if image else ()
    said = skipopu("trace", "--checkpoint", llava, *options, *shown)
    assert said.status == 2
    assert reason in said.err
    assert not (tmp_path / "t.trace").exists()


def test_an_image_goes_with_a_checkpoint(skipopu: Command, tmp_path: Path) -> None:
    said = skipopu("trace", "skipgpt", "--image", tmp_path / "image.npy", "-o", tmp_path / "t.trace")
    assert said.status == 2
    assert "goes with --checkpoint" in said.err
