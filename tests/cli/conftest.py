"""The command line as a test calls it, and small inputs for it; makes ``kv_traces`` importable."""

import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from skipopu.cli import main
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import synthesize, write_trace

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "models"))  # llava_directory
PROMPT, DECODE = 8, 4


@dataclass(frozen=True)
class Said:
    """What a command left behind: exit status and both streams."""

    status: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def skipopu(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command line in this process."""

    def run(*arguments: object) -> Said:
        status = main([str(argument) for argument in arguments])
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def small_shape() -> ModelShape:
    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    sizes = {"layers": 2, "hidden_size": 64, "intermediate_size": 128, "vocabulary": 256}
    heads = {"attention_heads": 2, "kv_heads": 2, "head_dim": 32}
    return ModelShape.from_values("small", "test", **sizes, **heads, **flags)


@pytest.fixture(scope="session")
def written_trace(small_shape: ModelShape, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace file that the tiny overlay runs in a moment."""
    path = tmp_path_factory.mktemp("traces") / "small.trace"
    write_trace(synthesize("skipgpt", small_shape, PROMPT, DECODE, skip=0.3, seed=7), path)
    return path


@pytest.fixture
def small_trace(written_trace: Path, tmp_path: Path) -> Path:
    """The trace file, alone in a directory that a test may spoil."""
    return Path(shutil.copy(written_trace, tmp_path / "small.trace"))


@dataclass(frozen=True)
class Simulated:
    """A result directory of the small trace beside its dense twin, and what the command printed."""

    directory: Path
    out: str
    err: str


@pytest.fixture(scope="session")
def simulated(written_trace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulated, Simulated]:
    """The same command twice; read only."""

    def run(directory: Path) -> Simulated:
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            status = main(["sim", str(written_trace), "--overlay", "tiny", "--dense", "-o", str(directory)])
        assert status == 0, err.getvalue()
        return Simulated(directory, out.getvalue(), err.getvalue())

    folder = tmp_path_factory.mktemp("results")
    return run(folder / "one"), run(folder / "two")
