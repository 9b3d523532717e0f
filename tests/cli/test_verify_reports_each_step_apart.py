"""`skipopu verify` prints a table a step, or JSON; it fails for logits that are no numbers and for nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command

from skipopu.numerics.decoder_products import Products

SMALL = ("verify", "shipped", "--layers", 2, "--tokens", 12, "--decode", 4, "--windows", 2, "--method", "rtn")


def test_the_tables_have_a_line_a_layer_and_a_line_a_run(skipopu: Command) -> None:
    said = skipopu(*SMALL)
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "skipgpt-bytes: 2 layers, INT4 weights by rtn; overlay tiny; PyTorch on cpu"
    assert "prefills 8 and decodes 4 of each" in lines[1]
    assert sum(line.startswith("layer ") for line in lines) == 3
    assert [line.split()[0] for line in lines if line[:1] in "01" and line.strip()] == ["0", "1"] * 3
    runs = [line.split()[0] for line in lines[-11:] if line.startswith(("float", "int4", "overlay "))]
    assert runs == ["float32", "float16", "int4", "overlay"]


def test_json_has_the_same_figures_and_repeats_itself(skipopu: Command) -> None:
    one, two = (skipopu(*SMALL, "--json") for _ in range(2))
    assert one.out == two.out
    found = json.loads(one.out)
    assert found["text"] == {"windows": 2, "tokens": 12, "prefill": 8, "decode": 4, "bytes_are_tokens": True}
    assert [(s["run"], s["reference"]) for s in found["steps"]] == [
        ("float16", "float32"), ("int4", "float32"), ("overlay", "int4"),
    ]  # fmt: skip
    assert len(found["steps"][2]["forced_routing"]["hidden_error"]) == 2
    assert set(found["loss"]) == {"float32", "float16", "int4", "overlay"}


def test_gptq_reads_training_text(skipopu: Command) -> None:
    said = skipopu(*(SMALL[:-2]), "--layers", 1, "--json")
    assert said.status == 0
    assert json.loads(said.out)["method"] == "gptq"


def test_logits_that_are_no_numbers_fail(skipopu: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Products.norm

    def broken(self: Products, x: Any, norm: Any) -> Any:
        return np.full_like(right(self, x, norm), 0x7E00)

    monkeypatch.setattr(Products, "norm", broken)
    said = skipopu(*SMALL, "--json")
    assert said.status == 1
    assert said.err == "skipopu: verify: logits that are infinite or NaN\n"
    assert json.loads(said.out)["loss"]["overlay"] is None


BAD = {
    "no such checkpoint": (("verify", "nowhere"), "no such folder"),
    "more layers than there are": (("verify", "shipped", "--layers", 7), "must be in 1..6"),
    "more decoded than there is": (("verify", "shipped", "--tokens", 4, "--decode", 5), "must be in 0..4"),
    "no such overlay": (("verify", "shipped", "--overlay", "huge"), "huge"),
    "a text too short": (("verify", "shipped", "--tokens", 10**9), "shorten"),
}


@pytest.mark.parametrize(("arguments", "told"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_status_two(arguments: tuple[Any, ...], told: str, skipopu: Command) -> None:
    said = skipopu(*arguments)
    assert said.status == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_the_device_is_refused(skipopu: Command) -> None:
    said = skipopu("verify", "shipped", "--device", "cuda")
    assert said.status == 2
    assert said.err == "skipopu: --device cuda: PyTorch finds no CUDA device here; use --device cpu\n"


def test_a_checkpoint_with_another_vocabulary_is_refused(skipopu: Command, tmp_path: Path) -> None:
    from skipopu.models.config import LlamaConfig, SkipConfig
    from skipopu.models.llama import Llama
    from skipopu.models.skipgpt import SkipGPT
    from skipopu.models.store import FILE, save_model

    config = LlamaConfig(64, 32, 48, 1, 4, 2, 8, tied_embeddings=True)
    model = SkipGPT(Llama(config), SkipConfig())
    model.llama.initialize(0)
    save_model(model, tmp_path / FILE, {})
    said = skipopu("verify", tmp_path, "--method", "rtn", "--tokens", 12, "--decode", 4)
    assert said.status == 2
    assert "vocabulary of 64" in said.err
