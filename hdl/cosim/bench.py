"""What a bench inside the simulator gets and gives back: named arrays, in a file each way."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

INPUTS, OUTPUTS = (
    "SKIPOPU_COSIM_INPUTS",
    "SKIPOPU_COSIM_OUTPUTS",
)  # environment variables: paths of .npz files
Arrays = dict[str, NDArray[Any]]


def inputs() -> Arrays:
    """Return what :func:`skipopu.hdl.cosim.runner.run` was given as ``inputs``."""
    return read_arrays(Path(os.environ[INPUTS]))


def write_outputs(**arrays: ArrayLike) -> None:
    """Leave ``arrays`` for whoever started the run; called once, when the bench ends."""
    write_arrays(Path(os.environ[OUTPUTS]), arrays)


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of a .npz file; Python objects in it are refused."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def write_arrays(path: Path, arrays: dict[str, ArrayLike]) -> None:
    """Write ``arrays`` to ``path``, aside and then renamed: a bench that is stopped leaves no half file."""
    aside = path.with_name(f".{path.name}")
    with aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    os.replace(aside, path)
