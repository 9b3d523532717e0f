"""The LUT estimate: sizes known by hand, bounds of any cover, monotone in width, summed over places; beside yosys."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipopu.hdl import netlist_words, synthesis_cache
from skipopu.hdl.netlist_gates import Gate, Gates
from skipopu.hdl.netlist_luts import Luts, luts
from skipopu.hdl.netlist_words import read_luts
from skipopu.hdl.synthesis import synthesise
from skipopu.hdl.yosys import unfilled
from skipopu.spec.resources_of_logic import PRICES, shift_left, shift_right

NAMES = ("a", "b", "c", "d")
# logic of four words of n bits and a word s → LUTs
KNOWN: dict[str, tuple[str, Callable[[int], int]]] = {
    "wire": ("a", lambda n: 0),
    "gate": ("(a & b) | (c ^ d)", lambda n: n),
    "choice of two": ("s[0] ? a : b", lambda n: n),
    "choice of four": ("s[1] ? (s[0] ? a : b) : (s[0] ? c : d)", lambda n: n),
    "sum": ("a + b", lambda n: n),
    "difference": ("a - b", lambda n: n),
    "sum with a gate before it": ("a + (b & c)", lambda n: n),
    "and of all": ("&{a, b}", lambda n: -(-(2 * n - 1) // 5)),
    "product": ("a * b", lambda n: 0),  # slices
    "shift": ("a << s", lambda n: n * min(2, -(-n // 3))),  # two levels, or a choice of all places
}
WIDTHS = (2, 4, 9, 16)
GROWING = {**{name: text for name, (text, _) in KNOWN.items()}, "equal": "a == b", "below": "a < b",
           "wide choice": "{a, b, c, d} >> s"}  # fmt: skip


def module(name: str, text: str, bits: int) -> str:
    words = "".join(f"input [{bits - 1}:0] {each}, " for each in NAMES)
    return f"module {name}({words}input [3:0] s,\n  output [{bits - 1}:0] q\n);\n  assign q = {text};\nendmodule\n"


@cache
def estimated(bits: int) -> dict[str, Luts]:
    names = {f"m{i}": text for i, text in enumerate(GROWING.values())}
    found = read_luts({name: module(name, text, bits) for name, text in names.items()})
    return dict(zip(GROWING, found.values(), strict=True))


@pytest.mark.parametrize("bits", WIDTHS)
def test_pieces_of_logic_take_as_many_luts_as_by_hand(bits: int) -> None:
    expected = {name: count(bits) for name, (_, count) in KNOWN.items()}
    assert {name: estimated(bits)[name].logic for name in expected} == expected


def test_no_piece_takes_fewer_luts_when_it_is_wider() -> None:
    for narrow, wide in pairwise(WIDTHS):
        assert all(estimated(narrow)[name].logic <= estimated(wide)[name].logic for name in GROWING)


@pytest.mark.slow
def test_simple_logic_takes_as_many_luts_as_yosys_maps_it_to() -> None:
    """Yosys spends inverters on a difference, and cuts a wide gate for speed: more LUTs, never fewer."""
    simple = [name for name in KNOWN if name not in ("product", "shift")]  # slices; no two cut a shifter alike
    texts = {f"m{i}": module(f"m{i}", KNOWN[name][0], 16) for i, name in enumerate(simple)}
    mapped = {name: cells.luts for name, cells in zip(simple, synthesise(texts).values(), strict=True)}
    more = {name: luts - estimated(16)[name].logic for name, luts in mapped.items()}
    assert more == dict.fromkeys(simple, 0) | {"difference": 1, "and of all": 2}


DELAYS = """module delays(input clk, input rst, input [7:0] a,
  output reg [7:0] q, output reg [7:0] r
);
  reg [7:0] a_1, a_2, a_3, b_1, b_2;
  always @(posedge clk) begin
    a_1 <= a; a_2 <= a_1; a_3 <= a_2; q <= a_3;
    b_1 <= a ^ q; b_2 <= b_1;
    if (rst) r <= 0; else r <= b_2;
  end
endmodule
"""


def test_delay_lines_are_shift_registers_from_three_cycles_on() -> None:
    """Four cycles of eight bits; the other line has two, and a register with a reset."""
    assert read_luts({"delays": DELAYS})["delays"] == Luts(logic=8, shift_registers=8, shifted=32)


@st.composite
def trees(draw: st.DrawFn) -> Gates:
    """Functions of two to six bits, each read by one later one; the last one is read outside."""
    found, leaves, roots = Gates(), iter(range(10_000, 20_000)), list[int]()
    for net in range(draw(st.integers(1, 30))):
        taken = [roots.pop() for _ in range(draw(st.integers(0, min(len(roots), 3))))]
        new = draw(st.integers(2 if not taken else 1, 6 - len(taken)))
        found.gates[net] = Gate((*taken, *(next(leaves) for _ in range(new))), draw(st.booleans()))
        roots.append(net)
    found.read = roots
    return found


@given(trees())
def test_a_cover_lies_between_inputs_over_five_and_a_lut_a_function(logic: Gates) -> None:
    """A LUT joins six bits into one, so a tree of n inputs takes at least (n − 1) / 5 of them."""
    inputs = sum(net not in logic.gates for gate in logic.gates.values() for net in gate.operands)
    count = luts(logic).logic
    assert -(-(inputs - len(logic.read)) // 5) <= count <= len(logic.gates)


@pytest.mark.parametrize(("bits", "out", "distance"), [(8, 8, 3), (11, 41, 5), (5, 40, 1), (64, 16, 6), (40, 3, 4)])
def test_a_shifter_has_a_lut_for_every_bit_in_reach(bits: int, out: int, distance: int) -> None:
    """Followed place by place: what a value may have reached after a level, what a result may still come from."""
    levels = range(0, distance, 2)
    reached, left = bits, 0
    for low in levels:
        reached += sum(1 << step for step in range(low, min(low + 2, distance)))
        left += min(out, reached)
    assert shift_left(bits, out, distance) == left
    needed, right = out + (1 << distance) - 1, 0
    for level in range(len(levels)):
        needed -= sum(1 << step for step in range(max(distance - 2 * level - 2, 0), distance - 2 * level))
        right += min(bits, needed)
    assert shift_right(bits, out, distance) == right


def test_filling_with_zeros_is_left_out_and_other_filling_is_not() -> None:
    loop = "  initial\n    for (w_word = 0; w_word < 9; w_word = w_word + 1)\n      w[w_word] = {};\n"
    assert unfilled(loop.format("26'h0000000")) == unfilled(loop.format("1'd0")) == ""
    assert unfilled(loop.format("4'h1")) == loop.format("4'h1")


def test_what_was_counted_is_not_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(synthesis_cache, "directory", lambda: tmp_path)
    texts = {"delays": DELAYS}
    first = read_luts(texts)
    monkeypatch.setattr(netlist_words, "yosys", lambda verilog, script: pytest.fail("read again"))
    assert read_luts(texts) == first
    assert synthesis_cache.kept("luts", "another text") is None


PLACES = "module places(input clk, input rst, input [7:0] a,\n  output [7:0] q\n);\n  delays one ({});\nendmodule\n"


@pytest.mark.parametrize("batch", [1, 10_000])
def test_a_module_counts_the_same_whatever_is_read_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: int
) -> None:
    """Alone it sees the module below as a black box."""
    monkeypatch.setattr(synthesis_cache, "directory", lambda: tmp_path)
    monkeypatch.setattr(netlist_words, "BATCH", batch)
    texts = {"delays": DELAYS, "places": PLACES.format(".clk(clk), .rst(rst), .a(a ^ {8{rst}}), .q(q)")}
    told: list[tuple[int, int]] = []
    found = read_luts(texts, lambda done, of: told.append((done, of)))
    assert found == {"delays": Luts(logic=8, shift_registers=8, shifted=32), "places": Luts(logic=8)}
    assert told == ([(1, 2), (2, 2)] if batch == 1 else [(2, 2)])


def test_every_price_names_its_source() -> None:
    assert {price.confidence for price in PRICES} <= {"datasheet", "derived", "decision"}
    assert all(price.source and price.luts for price in PRICES)
