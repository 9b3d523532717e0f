"""The shipped model is small, skips a quarter, and routes better than chance at the same rates."""

import json

import pytest
import torch

from skipopu.models.checkpoint import Checkpoint, open_checkpoint
from skipopu.models.corpus import read_corpus
from skipopu.models.evaluation import evaluate
from skipopu.models.recipe import SHIPPED

NAME = "skipgpt-bytes"
WINDOWS, LENGTH = 24, 192


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return open_checkpoint(NAME)


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return read_corpus().held_out_windows(WINDOWS, LENGTH)


def test_it_is_the_recipes_model_and_at_most_8_megabytes(shipped: Checkpoint) -> None:
    assert (shipped.model.config, shipped.model.skip) == (SHIPPED.llama, SHIPPED.skip)
    assert (shipped.directory / "model.safetensors").stat().st_size <= 8_000_000
    assert (shipped.directory / "training.png").read_bytes().startswith(b"\x89PNG")


def test_learned_routing_beats_random_routing_at_equal_skip_rate(
    shipped: Checkpoint, windows: torch.Tensor
) -> None:
    learned = evaluate(shipped.model, windows, "learned")
    random = [evaluate(shipped.model, windows, "random", seed) for seed in range(2)]
    assert abs(learned.skip_rate - SHIPPED.tuning.target_skip) < 0.04
    for other in random:
        assert other.attention_execution == learned.attention_execution
        assert other.ffn_execution == learned.ffn_execution
        assert learned.loss < other.loss - 0.1


def test_the_log_ends_with_the_loss_that_is_measured_here(shipped: Checkpoint, windows: torch.Tensor) -> None:
    lines = [json.loads(line) for line in (shipped.directory / "training.jsonl").read_text().splitlines()]
    logged = next(
        x["loss"] for x in reversed(lines) if x["stage"] == "held-out" and x["routing"] == "learned"
    )
    # other windows, and perhaps another Python version's library
    assert abs(evaluate(shipped.model, windows, "learned").loss - logged) < 0.25


def test_text_is_its_bytes(shipped: Checkpoint) -> None:
    assert shipped.encode("é\n") == [195, 169, 10]
