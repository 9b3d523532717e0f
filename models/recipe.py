"""Train the shipped byte-level SkipGPT: ``python -m skipopu.models.recipe -o DIR``.

Pre-training, router tuning and LoRA on the Python standard library's sources; seeds and step counts are
fixed, so the same machine, thread count and corpus give the same files. At most 15 minutes on 2 cores.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skipopu.models.calibration import calibrate, sampled_execution
from skipopu.models.config import LlamaConfig, SkipConfig
from skipopu.models.corpus import Corpus, read_corpus
from skipopu.models.evaluation import evaluate
from skipopu.models.llama import Llama
from skipopu.models.lora import LoraSettings
from skipopu.models.skipgpt import SkipGPT
from skipopu.models.store import FILE, load_model, save_model, write_aside
from skipopu.models.training import RouterTuning, Schedule, pretrain, tune_lora, tune_routers
from skipopu.models.training_plot import training_plot
from skipopu.spec.error import SpecError

THREADS = 2
NOMINAL_MINUTES = 9.0  # what the step counts below take on two cores of a current x86 server
CALIBRATION_SEED = 3
EVALUATION_SEED = 4


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the trained model besides the corpus."""

    llama: LlamaConfig
    skip: SkipConfig
    pretraining: Schedule
    routers: Schedule
    tuning: RouterTuning
    lora: Schedule
    adapters: LoraSettings
    calibration_windows: int
    held_out_windows: int

    def scaled(self, share: float) -> "Recipe":
        """Return the recipe with every step count multiplied by ``share``."""
        stages = {
            name: replace(schedule, steps=max(1, round(share * schedule.steps)))
            for name, schedule in (
                ("pretraining", self.pretraining),
                ("routers", self.routers),
                ("lora", self.lora),
            )
        }
        return replace(self, **stages)  # type: ignore[arg-type]


SHIPPED = Recipe(
    llama=LlamaConfig(
        vocabulary=256,
        hidden_size=192,
        intermediate_size=512,
        layers=6,
        attention_heads=6,
        kv_heads=2,
        head_dim=32,
        tied_embeddings=True,
    ),
    skip=SkipConfig(router="linear", ffn_input="post_attention", kv_policy="reuse_last"),
    pretraining=Schedule(steps=1800, batch=4, length=256, learning_rate=4e-3, weight_decay=0.1, seed=0),
    # 400 steps instead of 10 000, hence a higher rate than SkipGPT's 2e-3
    routers=Schedule(steps=400, batch=4, length=256, learning_rate=5e-3, seed=1),
    # α spreads over the modules: 4 over 12 weighs each as 20 does over the 64 of a 32-layer model
    tuning=RouterTuning(target_skip=0.25, alpha=4.0),
    lora=Schedule(steps=400, batch=4, length=256, learning_rate=2e-3, seed=2),
    adapters=LoraSettings(),
    calibration_windows=32,
    held_out_windows=128,
)


class TrainingLog:
    """Lines of the training log, echoed to standard output with the time, which is not kept."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._start = time.monotonic()

    def __call__(self, line: Mapping[str, object]) -> None:
        """Add one line."""
        self.lines.append(dict(line))
        print(f"{time.monotonic() - self._start:7.1f} s  {json.dumps(line)}", flush=True)

    def jsonl(self) -> bytes:
        """Return the log as JSON lines."""
        return "".join(json.dumps(line, sort_keys=True) + "\n" for line in self.lines).encode()


def train(recipe: Recipe, corpus: Corpus, directory: Path) -> SkipGPT:
    """Run and write ``model.safetensors``, ``training.jsonl``, ``training.png``; return what is stored."""
    log = TrainingLog()
    windows = corpus.held_out_windows(recipe.held_out_windows, recipe.pretraining.length)
    model = SkipGPT(Llama(recipe.llama), recipe.skip)
    model.llama.initialize(recipe.pretraining.seed)
    model.routers.initialize(recipe.routers.seed)
    pretrain(model.llama, corpus.batch, recipe.pretraining, log)
    _held_out(model, windows, "pretraining", ("dense",), log)
    _skip(model, recipe, corpus, windows, log)
    save_model(model, directory / FILE, _origin(recipe, corpus))
    stored = load_model(directory / FILE)
    _held_out(stored, windows, "lora", ("dense", "learned", "random"), log)
    write_aside(directory / "training.jsonl", log.jsonl())
    write_aside(directory / "training.png", training_plot(log.lines))
    return stored


def _skip(model: SkipGPT, recipe: Recipe, corpus: Corpus, windows: torch.Tensor, log: TrainingLog) -> None:
    """Stages 1 and 2; calibrated after each, because LoRA moves the residual stream that routers read."""
    tokens = corpus.batch(
        np.random.default_rng(CALIBRATION_SEED), recipe.calibration_windows, recipe.routers.length
    )
    tune_routers(model, corpus.batch, recipe.routers, recipe.tuning, log)
    execution = sampled_execution(model, tokens[:, :-1], CALIBRATION_SEED)
    calibrate(model, tokens[:, :-1], execution)
    _held_out(model, windows, "router tuning", ("learned", "random"), log)
    tune_lora(model, corpus.batch, recipe.lora, recipe.adapters, log)
    calibrate(model, tokens[:, :-1], execution)


def _held_out(
    model: SkipGPT, windows: torch.Tensor, after: str, routings: tuple[str, ...], log: TrainingLog
) -> None:
    for routing in routings:
        result = evaluate(model, windows, routing, EVALUATION_SEED)
        log(
            {
                "stage": "held-out",
                "after": after,
                "routing": routing,
                "loss": round(result.loss, 5),
                "skip_rate": round(result.skip_rate, 5),
                "attention_execution": [round(r, 5) for r in result.attention_execution],
                "ffn_execution": [round(r, 5) for r in result.ffn_execution],
            }
        )


def _origin(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    digest = hashlib.sha256(corpus.train.tobytes() + corpus.held_out.tobytes()).hexdigest()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"recipe": asdict(recipe), "corpus_sha256": digest, "python": python, "torch": torch.__version__}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m skipopu.models.recipe", description=__doc__)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the checkpoint, log and plot"
    )
    parser.add_argument(
        "--corpus", type=Path, help="folder with Python sources; default: the standard library"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=NOMINAL_MINUTES,
        help=f"scales the step counts, which are fixed and not clocked; default {NOMINAL_MINUTES:g}",
    )
    options = parser.parse_args(arguments)
    if not 0 < options.minutes <= 1440:
        parser.error(f"--minutes {options.minutes:g}: expected more than 0 and at most 1440")
    try:
        corpus = read_corpus(options.corpus)
        torch.set_num_threads(THREADS)
        train(SHIPPED.scaled(options.minutes / NOMINAL_MINUTES), corpus, options.output)
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
