"""The one way kernels are compiled, and where the machine code is kept between runs.

Numba's own on-disk cache does not notice a changed callee in another file. The cache directory is therefore
named after a hash of every source a kernel can reach: $XDG_CACHE_HOME/skipopu/<hash>, else
~/.cache/skipopu/<hash>, else, where that cannot be written, a temporary directory that goes with the process.
"""

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from skipopu.spec.load import DATA

KERNEL_SOURCES = ("sim", "numerics", "program", "spec")  # folders of skipopu that a kernel can depend on
Function = TypeVar("Function", bound=Callable[..., Any])


def source_hash() -> str:
    """Return 16 hexadecimal digits that change whenever a source of a kernel changes."""
    package = DATA.parents[1]
    digest = hashlib.sha256()
    for folder in KERNEL_SOURCES:
        for path in sorted((package / folder).glob("**/*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _cache_directory() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    directory = Path(home) / "skipopu" / source_hash()
    if _writable(directory):
        return directory
    directory = Path(tempfile.mkdtemp(prefix="skipopu-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


CACHE_DIRECTORY = _cache_directory()
os.environ["NUMBA_CACHE_DIR"] = str(CACHE_DIRECTORY)

import numba  # noqa: E402  (reads NUMBA_CACHE_DIR when first imported)

numba.config.CACHE_DIR = str(CACHE_DIRECTORY)  # where somebody imported it before us

_announced = False


def jit(function: Function) -> Function:
    """Compile ``function`` on its first call; plain Python under NUMBA_DISABLE_JIT=1."""
    return cast(
        Function, numba.njit(cache=True, boundscheck=False, error_model="numpy", _nrt=False)(function)
    )


def jit_parallel(function: Function) -> Function:
    """Compile like `jit`, with ``numba.prange`` loops spread over the cores; for checks, not for simulation.

    Numba keeps the threads' parts of a sum on its own heap, hence no ``_nrt``.
    """
    return cast(
        Function, numba.njit(cache=True, boundscheck=False, error_model="numpy", parallel=True)(function)
    )


def announce_first_compilation(*, verbose: bool = False) -> None:
    """Say on standard error, once, that kernels will be compiled; silent in a pipe unless ``verbose``."""
    global _announced
    if _announced or numba.config.DISABLE_JIT or any(CACHE_DIRECTORY.glob("**/*.nbi")):
        return
    _announced = True
    if verbose or sys.stderr.isatty():
        print("compiling the simulation kernels: only the first run waits for this", file=sys.stderr)
