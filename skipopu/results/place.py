"""Where a result goes: a directory is replaced whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from skipopu.spec.error import SpecError


def check_place(directory: Path, names: Set[str]) -> None:
    """Raise SpecError unless ``directory`` can be made, or holds files called ``names`` and nothing else."""
    if directory.exists() and not directory.is_dir():
        raise SpecError(f"{directory}: is a file; give a directory for the result")
    foreign = sorted(_names(directory) - names)
    if foreign:
        what = f"holds {foreign[0]!r}, which is not part of a result"
        raise SpecError(f"{directory}: {what}; give a new directory")
    place = directory.absolute()
    with written(directory):
        place.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent).cleanup()


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``directory`` that takes its place if the block ends well."""
    place = directory.absolute()
    with written(directory), _beside(place) as holder:
        aside = holder / "new"
        aside.mkdir()
        yield aside
        _swap(aside, place, holder / "old")


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a path beside the file ``path`` that takes its place if the block ends well."""
    with written(path), _beside(path.absolute()) as holder:
        yield holder / path.name
        (holder / path.name).replace(path)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one line about ``path``."""
    try:
        yield
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror}); give a writable directory") from None


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    holder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield holder
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


def _swap(new: Path, place: Path, old: Path) -> None:
    existed = place.exists()
    if existed:
        place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        if existed:
            old.rename(place)
        raise
