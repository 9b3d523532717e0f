"""The numerics as plain Python, with or without a planted fault: same sources, `jit` left out."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import skipopu.numerics

PACKAGE = "skipopu.numerics"
API = {
    "dot_product": ["dot_products"],
    "psum": ["accumulate", "drain"],
    "matmul": ["matmul"],
    "conversion": ["convert"],
    "exponential": ["exponentials"],
    "reciprocal": ["reciprocals", "reciprocal_roots"],
    "silu": ["silus"],
    "softmax": ["softmax_state", "add_scores", "probabilities"],
    "normalization": ["rms_norm"],
    "rotary": ["rotate"],
    "router": ["executed"],
    "packing_check": ["fp16_wrong", "int4_wrong", "fp16_mismatches", "int4_mismatches"],
}


def _uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@contextmanager
def _modules_put_back() -> Iterator[None]:
    """Modules imported inside do not outlive it, nor replace the compiled ones."""
    before = {name: module for name, module in sys.modules.items() if name.startswith(f"{PACKAGE}.")}
    attributes = dict(vars(skipopu.numerics))
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.startswith(f"{PACKAGE}.")]:
            del sys.modules[name]
        sys.modules.update(before)
        vars(skipopu.numerics).clear()
        vars(skipopu.numerics).update(attributes)


def _load(name: str, change: Callable[[str], str]) -> None:
    module = ModuleType(f"{PACKAGE}.{name}")
    module.__file__ = str(Path(skipopu.numerics.__path__[0]) / f"{name}.py")
    sys.modules[module.__name__] = module
    source = change(Path(module.__file__).read_text(encoding="utf-8"))
    exec(compile(source, module.__file__, "exec"), vars(module))


def interpreted(name: str = "", old: str = "", new: str = "", jit: Any = _uncompiled) -> SimpleNamespace:
    """Return the public functions; in module ``name`` the one occurrence of ``old`` reads ``new``."""

    def change(source: str) -> str:
        assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}"
        return source.replace(old, new)

    with _modules_put_back():
        compiler = ModuleType(f"{PACKAGE}.jit")
        vars(compiler).update(jit=jit, jit_parallel=jit)
        sys.modules[compiler.__name__] = compiler
        if name:
            _load(name, change)
        found = {
            function: getattr(importlib.import_module(f"{PACKAGE}.{module}"), function)
            for module, functions in API.items()
            for function in functions
        }
    return SimpleNamespace(**found)
