"""Imports go down the floors of the house; checked on every source, and on sources that break the rules."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# a package may import from its own folder and from lower numbers; "" is the root module
FLOORS = {"spec": 0, "numerics": 1, "trace": 2, "program": 3, "models": 4, "sim": 4, "hdl": 4}
FLOORS |= {"results": 5, "explore": 6, "": 7, "cli": 8, "tests": 9}
LINKED = ("sim", "hdl", "models")
HOUSE = ("skipopu", *LINKED, "tests")
TORCH = {"torch", "transformers", "safetensors.torch"}
BY_NAME = ("import_module", "__import__")
HEAVY = ("numba", "torch", "polars", "matplotlib", "transformers", "typer", "rich", "pyarrow")


def module_name(path: str) -> str:
    """``sim/pe_array.py`` → ``skipopu.sim.pe_array``; a package is named like its folder."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join(parts if parts[0] == "skipopu" else ["skipopu", *parts])


def imports(tree: ast.AST, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of everything imported, by statement or by ``import_module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in BY_NAME:
            yield from ((node.lineno, str(a.value)) for a in node.args[:1] if isinstance(a, ast.Constant))


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".") if is_package else module.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def faults(source: str, path: str) -> list[str]:
    """Return the broken rules of one source file, each as ``path:line: what``."""
    module = module_name(path)
    found = []
    for line, name in imports(ast.parse(source), module, is_package=path.endswith("__init__.py")):
        what = _fault(module, name)
        if what:
            found.append(f"{path}:{line}: {what}")
    return found


def _fault(module: str, name: str) -> str | None:
    top = name.split(".")[0]
    if top in LINKED:
        return f"imports the bare name {top}; write skipopu.{top}"
    if any(name == t or name.startswith(t + ".") for t in TORCH):
        allowed = floor_of(module) in ("models", "tests") or module == "skipopu.cli.verify"
        return None if allowed else f"imports {name}; only models and cli/verify may"
    return _climb(module, name) if top == "skipopu" else None


def _climb(module: str, name: str) -> str | None:
    here, there = floor_of(module), floor_of(name)
    cosim = module.startswith("skipopu.hdl.cosim")
    if here == there or FLOORS[there] < FLOORS[here] or (cosim and there == "sim"):
        return None
    return f"{here or 'skipopu'} imports {name}, which is not below it"


def floor_of(module: str) -> str:
    """The folder a module belongs to; "" is the root module itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


def sources() -> list[Path]:
    folders = [ROOT / name for name in HOUSE]
    return sorted(p for folder in folders for p in folder.rglob("*.py") if not _behind_link(p))


def _behind_link(path: Path) -> bool:
    relative = path.relative_to(ROOT).parts
    return relative[0] == "skipopu" and relative[1] in LINKED


def test_every_source_keeps_the_floors() -> None:
    paths = sources()
    assert {p.relative_to(ROOT).parts[0] for p in paths} == set(HOUSE)
    found = [f for p in paths for f in faults(p.read_text(encoding="utf-8"), str(p.relative_to(ROOT)))]
    assert found == []


@pytest.mark.parametrize("link", LINKED)
def test_the_import_path_is_a_link_to_the_folder(link: str) -> None:
    assert os.readlink(ROOT / "skipopu" / link) == f"../{link}"


@pytest.mark.parametrize(
    ("path", "source", "told"),
    [
        ("skipopu/spec/overlay.py", "from skipopu.trace import read_trace", "not below"),
        ("skipopu/trace/schema.py", "def f():\n    import skipopu.program.compiler", "not below"),
        ("skipopu/program/isa.py", "from ..sim import run", "not below"),
        ("skipopu/results/__init__.py", "from ..cli import main", "not below"),
        ("skipopu/results/audit.py", "from skipopu import simulate", "not below"),
        ("sim/pe_array.py", "from skipopu.hdl.pe_array import PeArray", "not below"),
        ("sim/pe_array.py", "from skipopu.models import skipgpt", "not below"),
        ("hdl/pe_array.py", "from skipopu import sim", "not below"),
        ("models/export.py", "import skipopu.sim.reference", "not below"),
        ("models/export.py", "import importlib\nimportlib.import_module('skipopu.cli')", "not below"),
        ("sim/dma.py", "if True:\n    import torch", "only models"),
        ("skipopu/cli/sim.py", "import transformers", "only models"),
        ("skipopu/trace/write.py", "from safetensors.torch import save_file", "only models"),
        ("tests/sim/test_x.py", "from sim import run", "bare name"),
        ("skipopu/cli/trace.py", "import models.export", "bare name"),
    ],
)
def test_a_planted_fault_is_found(path: str, source: str, told: str) -> None:
    assert [told in f for f in faults(source, path)] == [True]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hdl/cosim/bench.py", "from skipopu.sim.run import Run\nfrom skipopu.hdl import top"),
        ("sim/pe_array.py", "from skipopu.spec.overlay import Overlay\nfrom .run import Run"),
        ("models/export.py", "import torch\nfrom skipopu.trace import write_trace"),
        ("skipopu/cli/verify.py", "import torch\nimport skipopu"),
        ("skipopu/__init__.py", "def simulate():\n    from skipopu.sim.reference import simulate"),
        ("skipopu/trace/write.py", "from safetensors.numpy import save"),
    ],
)
def test_a_lawful_import_is_let_through(path: str, source: str) -> None:
    assert faults(source, path) == []


def test_importing_skipopu_loads_nothing_heavy() -> None:
    code = f"import skipopu, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
