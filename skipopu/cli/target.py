"""Where a trace goes: looked at before minutes are spent on computing it."""

import os
from pathlib import Path

from skipopu.spec.error import SpecError


def check_file(path: Path) -> None:
    """Raise SpecError unless a file can be written to ``path``, which happens beside it and by renaming."""
    parent = path.absolute().parent
    if path.is_dir():
        raise SpecError(f"-o {path}: is a directory; give the name of a file in it, e.g. {path / 't.trace'}")
    if not parent.is_dir():
        raise SpecError(f"-o {path}: {path.parent} is not a directory; create it or give another place")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise SpecError(f"-o {path}: no permission to write into {path.parent}; give another place")
