"""A byte corpus from Python sources on this machine, split by file into training and held-out parts."""

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipopu.spec.error import SpecError

# tests, generated tables, and packages that later Python versions dropped
EXCLUDED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "distutils", "encodings"}
    | {"pydoc_data", "turtledemo", "ensurepip", "__phello__", "__pycache__"}
)
HELD_OUT_SHARE = 16  # one file in 16
SEPARATOR = b"\0"  # between files


@dataclass(frozen=True)
class Corpus:
    """Bytes for training and held out, uint8."""

    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]

    def batch(self, generator: np.random.Generator, size: int, length: int) -> Tensor:
        """Draw training windows [size, length + 1] at random offsets."""
        starts = generator.integers(0, len(self.train) - length, size)
        return _windows(self.train, starts, length)

    def held_out_windows(self, count: int, length: int) -> Tensor:
        """Return ``count`` evenly spaced held-out windows [count, length + 1]."""
        return _windows(
            self.held_out, np.linspace(0, len(self.held_out) - length - 1, count).astype(int), length
        )


def read_corpus(root: Path | None = None, minimum: int = 65536) -> Corpus:
    """Read the ``.py`` files below ``root``, by default the standard library.

    A file is held out by a hash of its relative path, so that the split is the same on every machine.
    Raises SpecError where a part has fewer than ``minimum`` bytes.
    """
    root = root or Path(sysconfig.get_paths()["stdlib"])
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for path in _sources(root):
        parts[is_held_out(path.relative_to(root).as_posix())].append(path.read_bytes() + SEPARATOR)
    train, held_out = (np.frombuffer(b"".join(part), dtype=np.uint8) for part in parts)
    if min(len(train), len(held_out)) < minimum:
        raise SpecError(
            f"corpus {root}: {len(train)} training and {len(held_out)} held-out bytes of Python sources;"
            f" at least {minimum} of each are needed; give a larger folder"
        )
    return Corpus(train, held_out)


def is_held_out(relative: str) -> bool:
    """Return whether the file at this relative path is kept from training."""
    return hashlib.sha256(relative.encode()).digest()[0] % HELD_OUT_SHARE == 0


def _sources(root: Path) -> list[Path]:
    if not root.is_dir():
        raise SpecError(f"corpus {root}: no such folder; give one with Python sources")
    paths = (p for p in root.rglob("*.py") if not EXCLUDED.intersection(p.relative_to(root).parts))
    return sorted(paths, key=lambda p: p.relative_to(root).as_posix())


def _windows(data: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> Tensor:
    rows = data[starts[:, None] + np.arange(length + 1)]
    return torch.from_numpy(rows.astype(np.int64))
