"""The Verilog of ``tiny``: one module a block, names kept, no generated numerals where a name existed."""

import ast
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from amaranth.back import rtlil

from skipopu.hdl.alignment import Alignment
from skipopu.hdl.column_pair import ColumnPair
from skipopu.hdl.float_adder import FloatAdder
from skipopu.hdl.ifm import Ifm
from skipopu.hdl.netlist import Netlist, read_netlist
from skipopu.hdl.pe import Pe
from skipopu.hdl.pe_array import PeArray
from skipopu.hdl.psum import Psum
from skipopu.hdl.shared_exponent import SharedExponent
from skipopu.hdl.verilog import Block, emit
from skipopu.spec.overlay import Overlay

HDL = Path(__file__).parents[2] / "hdl"
COLUMNS = 120
INDENT = 2
COMMENT = re.compile(r"//.*")
WORD = re.compile(r"\\\S+|[A-Za-z_$][\w$]*")
NUMBERED = re.compile(r"(?P<base>.*?\D)_?(?P<number>\d+)")
TEMPORARY = re.compile(r"_\d+")
DECLARED = re.compile(r"^  (?:input |output )?(?:wire |reg )?(?:\[[^\]]*\] )?(?P<name>\w+)(?: = .*)?[,;]?$")
FORMAT = ("int4", "fp16")  # numbers that belong to the name
MODULE = "dsp48e2_multiply"  # of the file dsp48e2.py


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return emit(PeArray(overlay=Overlay.load("tiny")))


@pytest.fixture(scope="module")
def netlists(texts: dict[str, str]) -> dict[str, Netlist]:
    return read_netlist(texts)


def source_of(module: str) -> Path:
    """The file that describes a module: they have the same name."""
    return HDL / f"{'dsp48e2' if module == MODULE else module}.py"


def docstring(module: str) -> str:
    """Of the block's class."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    wanted = source_of(module).stem.replace("_", "")
    (found,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.lower() == wanted)
    return ast.get_docstring(found) or ""


def ports_section(module: str) -> str:
    return docstring(module).split("Ports\n-----\n")[1].split("\n\n")[0]


def blocks() -> dict[str, Block]:
    """Blocks of tiny that give names to signals."""
    overlay = Overlay.load("tiny")
    pe, number = overlay.pe_array, overlay.psum.format
    made: list[Block] = [
        PeArray(overlay=overlay),
        ColumnPair(pe_array=pe, psum=overlay.psum),
        Pe(product_bits=pe.product_bits, multiply_stages=pe.multiply_stages),
        Alignment(product_bits=pe.product_bits, nearest=False, align_stages=pe.align_stages),
        SharedExponent(length=pe.dot_length, multiply_stages=pe.multiply_stages),
        FloatAdder(format=number, stages=pe.accumulate_stages, registered_output=False),
        Ifm(rows=overlay.ifm.rows, row_bits=8 * overlay.tile_bytes),
        Psum(entries=overlay.psum.entries, entry_bits=32 * pe.columns),
    ]
    return {block.module: block for block in made}


def named_signals(text: str) -> tuple[set[str], set[str]]:
    """Signals with plain names in Amaranth's own text, and those among them that only rename bits of others."""
    names = set(re.findall(r"^  wire .*\\([A-Za-z]\w*)$", text, re.MULTILINE))
    return names, set(re.findall(r"^connect \\(\w+) [^$\n]*$", text, re.MULTILINE))


def words(text: str) -> set[str]:
    return set(WORD.findall(COMMENT.sub("", text)))


def declared(text: str) -> list[str]:
    return [match["name"] for line in text.splitlines() if (match := DECLARED.match(line))]


def broken_series(names: set[str]) -> dict[str, list[int]]:
    """Numbered names that are no series: a series begins with 0 or 1 and has no gap larger than a pair of columns."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if match := NUMBERED.fullmatch(name):
            numbers[match["base"].rstrip("_")].add(int(match["number"]))
    return {base: sorted(found) for base, found in numbers.items() if not _is_series(sorted(found))}


def _is_series(found: list[int]) -> bool:
    return found[0] in (0, 1) and all(b - a <= 2 for a, b in pairwise(found))


def test_every_block_is_one_module(texts: dict[str, str]) -> None:
    blocks = {"pe_array", "ker", "ker_bank", "ifm", "psum", "psum_half", "column_pair", "shared_exponent", "pe", MODULE}
    blocks |= {"alignment", "accumulation_tree", "conversion", "float_adder", "ker_words", "ker_pieces", "ker_slots"}
    assert set(texts) == blocks
    for name, text in texts.items():
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [name]
        assert text.count("endmodule") == 1
        assert source_of(name).is_file()


def test_a_module_begins_with_what_it_is(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        assert text.splitlines()[0] == f"// {docstring(name).splitlines()[0]}"


def test_no_name_is_escaped(texts: dict[str, str]) -> None:
    escaped = {name: sorted(w for w in words(text) if w.startswith("\\")) for name, text in texts.items()}
    assert {name: found for name, found in escaped.items() if found} == {}


def test_no_name_carries_a_generated_suffix(texts: dict[str, str]) -> None:
    marked = {name: sorted(w for w in words(text) if "$" in w[1:]) for name, text in texts.items()}
    assert {name: found for name, found in marked.items() if found} == {}


def test_numbers_in_names_are_series(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        names = {w for w in declared(text) if not TEMPORARY.fullmatch(w) and not w.endswith(FORMAT)}
        assert broken_series(names) == {}, name


def test_ports_are_those_of_the_docstring_in_its_order(netlists: dict[str, Netlist]) -> None:
    for name, netlist in netlists.items():
        described = re.findall(r"\w+", ports_section(name))
        ports = [port.name.partition("__")[0] for port in netlist.ports if port.name not in ("clk", "rst")]
        assert [p for p in ports if p not in described] == [], name
        assert [p.name for p in netlist.ports[:2]] == ["clk", "rst"] or not netlist.flip_flops


@pytest.mark.parametrize("module", blocks())
def test_names_are_kept(module: str, texts: dict[str, str]) -> None:
    names, aliases = named_signals(rtlil.convert(blocks()[module], module, emit_src=False))
    assert len(names) > len(aliases)
    assert names - words(texts[module]) - aliases == set()


def test_instances_are_called_as_they_were_placed(netlists: dict[str, Netlist]) -> None:
    overlay = Overlay.load("tiny").pe_array
    assert set(netlists["pe_array"].instances) == {
        "ker", "slots", "ifm", "psum",
        *(f"{n}_{c}" for n in ("columns", "weights") for c in range(0, overlay.columns, 2)),
    }  # fmt: skip
    pair = netlists["column_pair"].instances
    assert {n for n, module in pair.items() if module == "pe"} == {f"pe_{k}" for k in range(overlay.dot_length)}
    assert {n for n, module in pair.items() if module != "pe"} >= {"tree", "convert0", "accumulate1", "exponent0"}


def test_registers_are_written_on_clock_edges_only(texts: dict[str, str]) -> None:
    for text in texts.values():
        assert not re.search(r"negedge|always @\(posedge (?!clk\))", text)


def test_no_range_is_empty(texts: dict[str, str]) -> None:
    assert [name for name, text in texts.items() if "[-1:0]" in text] == []


def test_lines_fit_on_a_screen(texts: dict[str, str]) -> None:
    long = {n: max(map(len, t.splitlines())) for n, t in texts.items()}
    assert {name: length for name, length in long.items() if length > COLUMNS} == {}


def test_a_module_is_short(texts: dict[str, str]) -> None:
    lines = {name: text.count("\n") for name, text in texts.items()}
    assert max(lines.values()) < 1500
    assert sum(lines.values()) < 5000


@pytest.mark.parametrize(
    ("names", "broken"),
    [
        ({"entry_1", "entry_2", "entry_3"}, {}),
        ({"columns_0", "columns_2", "columns_4"}, {}),
        ({"read__addr", "read__addr_26"}, {"read__addr": [26]}),
        ({"sum1_0", "sum1_1", "sum1_9"}, {"sum1": [0, 1, 9]}),
    ],
)
def test_a_planted_numeral_is_found(names: set[str], broken: dict[str, list[int]]) -> None:
    assert broken_series(names) == broken
