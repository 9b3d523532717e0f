"""Cells that yosys makes of emitted Verilog for UltraScale+: every module once, those below it as black boxes.

Yosys writes out and reads back the whole design for every module that it maps: of 191 modules in one run, half a
minute each, large or small. So a run has a few modules, and what it found of each is kept.

Yosys moves no register into a DSP slice that is a vendor primitive, puts one function into a LUT that has two
outputs, and knows no timing: LUT and FF come out high. Slices and block RAMs come out right.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from skipopu.hdl.synthesis_cache import keep, kept
from skipopu.hdl.yosys import Progress, SynthesisError, children, stub, unfilled, yosys
from skipopu.spec.resource_terms import Estimate

__all__ = ["Cells", "Progress", "SynthesisError", "synthesise", "total"]

CACHE = "synthesis"
TOP = "modules_of_this_run"
BATCH = 16  # modules of a run: fewer, and starting yosys takes longest; more, and writing out the design does
# `opt_clean -purge` takes out the names of array elements, which abc9 would confuse with bits of the array
SCRIPT = (
    "read_verilog {{source}}; proc; opt_clean -purge; "
    "synth_xilinx -family {family} -top {top} -noiopad -noclkbuf{ultra}; tee -o {{result}} stat -json"
)
FAMILY = "xcup"
ULTRA = 'ram_style = "ultra"'
LUTS = ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "INV")  # an inverter is a LUT unless routed away
SHIFT_REGISTERS = ("SRL16E", "SRLC32E")  # a LUT each
LUT_RAMS = {"RAM32M": 4, "RAM32M16": 8, "RAM64M": 4, "RAM64M8": 8, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32X1D": 2}
FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")


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


def synthesise(texts: Mapping[str, str], progress: Progress | None = None) -> dict[str, Cells]:
    """Return the cells of each module of ``texts`` (module → Verilog); SynthesisError if yosys fails."""
    found = {name: cells for name in texts if (cells := _kept(texts, name)) is not None}
    missing = [name for name in texts if name not in found]
    for batch in _batches(texts, missing):
        if progress is not None:
            progress(len(found), len(texts))
        for name, cells in _synthesise(texts, batch).items():
            keep(CACHE, _identity(texts, name), {"counts": cells.counts, "modules": cells.modules})
            found[name] = cells
    return {name: found[name] for name in texts}


def _kept(texts: Mapping[str, str], name: str) -> Cells | None:
    found = kept(CACHE, _identity(texts, name))
    return None if found is None else Cells(found["counts"], found["modules"])


def _identity(texts: Mapping[str, str], name: str) -> str:
    return "\0".join((SCRIPT, FAMILY, texts[name], *(stub(texts[child]) for child in children(texts, name))))


def _batches(texts: Mapping[str, str], names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Of modules alike in size, and with URAM apart: yosys infers that of all memories or of none."""
    for ultra in (False, True):
        alike = sorted((name for name in names if (ULTRA in texts[name]) == ultra), key=lambda name: len(texts[name]))
        yield from (alike[i : i + BATCH] for i in range(0, len(alike), BATCH))


def _synthesise(texts: Mapping[str, str], names: Sequence[str]) -> dict[str, Cells]:
    below = dict.fromkeys(child for name in names for child in children(texts, name) if child not in names)
    instances = "".join(f"(* keep *) {name} place_{name} ();\n" for name in names)
    source = "\n".join((
        *(unfilled(texts[name]) for name in names), *(stub(texts[child]) for child in below),
        f"module {TOP};\n{instances}endmodule\n",
    ))  # fmt: skip
    ultra = " -uram" if any(ULTRA in texts[name] for name in names) else ""
    stat = json.loads(yosys(source, SCRIPT.format(family=FAMILY, top=TOP, ultra=ultra)))["modules"]
    there = {module.removeprefix("\\"): cells["num_cells_by_type"] for module, cells in stat.items()}
    return {name: _cells(there[name], texts) for name in names}


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


def _cells(counts: Mapping[str, int], modules: Mapping[str, str]) -> Cells:
    plain = {name.removeprefix("\\"): int(count) for name, count in sorted(counts.items())}
    return Cells(
        {name: count for name, count in plain.items() if name not in modules},
        {name: count for name, count in plain.items() if name in modules},
    )
