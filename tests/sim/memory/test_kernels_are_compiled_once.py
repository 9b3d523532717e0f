"""Machine code is kept where it belongs, changes with the sources, and nothing is compiled at import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True, cwd=ROOT
    )


WHERE = """
from skipopu.numerics.jit import jit, announce_first_compilation
import os
announce_first_compilation(verbose=True)
print(os.environ["NUMBA_CACHE_DIR"])
"""


def test_the_cache_lies_in_the_users_cache_directory(tmp_path: Path) -> None:
    done = run(WHERE, XDG_CACHE_HOME=str(tmp_path))
    directory = Path(done.stdout.strip())
    assert directory.parent == tmp_path / "skipopu"
    assert directory.is_dir()
    assert done.stderr == "compiling the simulation kernels: only the first run waits for this\n"


def test_an_unwritable_cache_is_replaced_by_a_temporary_one(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    directory = Path(run(WHERE, XDG_CACHE_HOME=str(blocked)).stdout.strip())
    assert not directory.is_relative_to(tmp_path)
    assert not directory.exists()  # gone with the process


def test_the_hash_follows_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skipopu.numerics.jit import jit

    compile_module = sys.modules[jit.__module__]
    for name in ("sim/a.py", "spec/b.py", "numerics/deep/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "spec/data").mkdir()
    monkeypatch.setattr(compile_module, "DATA", tmp_path / "spec/data")
    seen = {compile_module.source_hash()}
    for name in ("sim/a.py", "spec/b.py", "numerics/deep/c.py"):
        (tmp_path / name).write_text("x = 2\n")
        seen.add(compile_module.source_hash())
    assert len(seen) == 4


def test_the_model_runs_without_numba(tmp_path: Path) -> None:
    code = """
from skipopu.spec.board import Board
from skipopu.sim.dram import new_dram, push, tick
dram = new_dram(Board.load("u280").hbm, 1)
push(dram, 0, 0, 16, False, 9, 0)
print([now for now in range(80) if tick(dram, 0, now) >= 0])
"""
    done = run(code, NUMBA_DISABLE_JIT="1", XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.strip() == str(
        [55, *range(57, 72)]
    )  # the second bank opens tRRD_S = 2 ticks after the first
    assert not list(tmp_path.glob("**/*.nb?"))


def test_the_package_itself_does_not_load_numba() -> None:
    assert run("import skipopu, sys; print('numba' in sys.modules)").stdout.strip() == "False"
