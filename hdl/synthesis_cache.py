"""What was found of a module, kept between runs: by its text and all else that decides it, the version of yosys too."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from skipopu.hdl.yosys import TOOL


def kept(kind: str, identity: str) -> Mapping[str, Any] | None:
    """Return what was kept of ``identity``, or None."""
    try:
        found: Mapping[str, Any] = json.loads(_path(kind, identity).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def keep(kind: str, identity: str, found: Mapping[str, Any]) -> None:
    """Keep it; a cache that cannot be written is none."""
    path = _path(kind, identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as aside:
            json.dump(found, aside)
        os.replace(aside.name, path)
    except OSError:
        return


@cache
def sources(modules: tuple[ModuleType, ...]) -> str:
    """Return a digest of the source of ``modules``, to be part of an identity."""
    digest = hashlib.sha256()
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def directory() -> Path:
    """Return where it lies."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "skipopu"


def _path(kind: str, identity: str) -> Path:
    name = hashlib.sha256(f"{version(TOOL)}\0{identity}".encode()).hexdigest()[:32]
    return directory() / kind / f"{name}.json"
