"""The recipe writes its three files, the same ones again, from a corpus split by file."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_model import DECODER

from skipopu.models.config import SkipConfig
from skipopu.models.corpus import Corpus, is_held_out, read_corpus
from skipopu.models.lora import LoraSettings
from skipopu.models.recipe import SHIPPED, Recipe, main, train
from skipopu.models.store import load_model
from skipopu.models.training import RouterTuning, Schedule
from skipopu.spec.error import SpecError

SHORT = Schedule(steps=4, batch=2, length=16, learning_rate=1e-3)
TINY = Recipe(
    llama=replace(DECODER, vocabulary=256),
    skip=SkipConfig(),
    pretraining=SHORT,
    routers=SHORT,
    tuning=RouterTuning(),
    lora=SHORT,
    adapters=LoraSettings(),
    calibration_windows=4,
    held_out_windows=4,
)
FILES = ("model.safetensors", "training.jsonl", "training.png")


def tiny_corpus() -> Corpus:
    data = np.frombuffer(b"def add(a, b):\n    return a + b\n" * 64, np.uint8)
    return Corpus(data, data[::-1].copy())


def test_training_writes_the_same_files_again(tmp_path: Path) -> None:
    for run in ("a", "b"):
        train(TINY, tiny_corpus(), tmp_path / run)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(FILES)
    lines = [json.loads(line) for line in (tmp_path / "a" / "training.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"pretraining", "router tuning", "lora", "held-out"}


def test_a_stored_model_loads_as_it_was_stored(tmp_path: Path) -> None:
    stored = train(TINY, tiny_corpus(), tmp_path)
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.config, loaded.skip) == (TINY.llama, TINY.skip)
    assert all((a == b).all() for a, b in zip(stored.parameters(), loaded.parameters(), strict=True))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(TINY, tiny_corpus(), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SpecError, match="expected a complete safetensors file"):
        load_model(path)


def test_the_shipped_recipe_fits_its_promises() -> None:
    d = SHIPPED.llama
    layer = (
        2 * d.hidden_size * (d.attention_heads + d.kv_heads) * d.head_dim
        + 3 * d.hidden_size * d.intermediate_size
    )
    assert 2 * (d.layers * layer + d.vocabulary * d.hidden_size) < 8e6  # bytes in float16
    assert d.kv_heads % 2 == 0
    assert SHIPPED.tuning.target_skip == 0.25
    assert SHIPPED.scaled(0.5).pretraining.steps == SHIPPED.pretraining.steps // 2


def test_files_are_split_by_name_and_tests_left_out(tmp_path: Path) -> None:
    names = [f"pkg/module_{i}.py" for i in range(40)]
    for name in [*names, "test/test_x.py", "site-packages/other.py", "pkg/data.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    corpus = read_corpus(tmp_path, minimum=1)
    held_out = [name for name in names if is_held_out(name)]
    assert 0 < len(held_out) < 10
    for part, expected in ((corpus.held_out, held_out), (corpus.train, sorted(set(names) - set(held_out)))):
        assert (
            part.tobytes().decode().replace("\0", "").split()
            == " ".join(f"# {n}" for n in sorted(expected)).split()
        )


def test_held_out_windows_are_even_and_batches_repeat() -> None:
    corpus = Corpus(np.arange(200, dtype=np.uint8), np.arange(100, dtype=np.uint8))
    assert corpus.held_out_windows(4, 9)[:, 0].tolist() == [0, 30, 60, 90]
    a, b = (corpus.batch(np.random.default_rng(1), 5, 9) for _ in range(2))
    assert (a == b).all()
    assert (a[:, 1:] == a[:, :-1] + 1).all()


def test_a_small_or_missing_corpus_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("pass\n")
    with pytest.raises(
        SpecError, match=r"held-out bytes of Python sources; at least 65536 of each are needed"
    ):
        read_corpus(tmp_path)
    assert main(["-o", str(tmp_path / "out"), "--corpus", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_recipe_needs_neither_numba_nor_polars_nor_typer() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['numba', 'polars', 'typer', 'rich', 'transformers']));"
        "import skipopu.models.recipe"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
