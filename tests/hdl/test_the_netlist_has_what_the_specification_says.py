"""Facts of the emitted Verilog, read by pyverilog, against figures worked out here from the overlay's parameters."""

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from skipopu.hdl import netlist_kept, netlist_reader, synthesis_cache
from skipopu.hdl.alignment import Alignment
from skipopu.hdl.column_pair import ColumnPair
from skipopu.hdl.float_adder import FloatAdder
from skipopu.hdl.ker import Ker
from skipopu.hdl.ker_bank import KerBank
from skipopu.hdl.ker_pieces import KerPieces
from skipopu.hdl.ker_words import KerWords
from skipopu.hdl.netlist import Netlist, Totals, read_netlist, totals
from skipopu.hdl.pe import Pe
from skipopu.hdl.pe_array import PeArray
from skipopu.hdl.verilog import Block, emit
from skipopu.spec import resources
from skipopu.spec.error import SpecError
from skipopu.spec.ker_shape import ker_shape
from skipopu.spec.overlay import Overlay

LONG = (
    "pe_array.tree=dsp", "pe_array.multiply_stages=6", "pe_array.align_stages=3", "pe_array.tree_stages=5",
    "pe_array.convert_stages=3", "pe_array.broadcast_stages=2", "psum.entries=32",
)  # fmt: skip
WIDE = (
    "pe_array.product_bits=22", "pe_array.alignment_rounding=nearest", "pe_array.output_rounding=toward_zero",
    "psum.format=fp16", "pe_array.multiply_stages=2", "pe_array.align_stages=1", "pe_array.tree_stages=1",
    "pe_array.accumulate_stages=3", "psum.interleave=3", "dma.hbm_ports=8", "ifm.rows=33",
)  # fmt: skip
SHARED = ("pe_array.tree=dsp", "pe_array.tree_stages=2")  # some additions in the cycle of the one before
VARIANTS = {"tiny": (), "long": LONG, "wide": WIDE, "shared": SHARED}
SLOW = ("long", "wide")
CASES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in VARIANTS]
SLICE = "dsp48e2"


@cache
def array(variant: str, primitive: bool = False) -> tuple[Overlay, dict[str, Netlist], Totals]:
    overlay = Overlay.load("tiny", VARIANTS[variant])
    modules = read_netlist(emit(PeArray(overlay=overlay, primitive=primitive)))
    return overlay, modules, totals(modules, "pe_array")


def spread(steps: int, stages: int) -> list[int]:
    """Registers behind each step: after i steps, ⌊i · stages / steps⌋ of them."""
    passed = [math.floor(i * stages / steps) for i in range(steps + 1)]
    return [b - a for a, b in pairwise(passed)]


def slices(overlay: Overlay) -> int:
    """One for two products; in the dsp tree one for two additions."""
    pe = overlay.pe_array
    multipliers = pe.columns // 2 * pe.dot_length
    return multipliers + ((pe.dot_length - 1) * pe.columns // 2 if pe.tree == "dsp" else 0)


@pytest.mark.parametrize("primitive", [False, True])
@pytest.mark.parametrize("variant", CASES)
def test_dsp_slices(variant: str, primitive: bool) -> None:
    overlay, _, found = array(variant, primitive)
    placed = sum(count for name, count in found.instances.items() if name.startswith(SLICE))
    assert placed == slices(overlay) == resources.dsp_slices(overlay)
    assert found.instances.get("DSP48E2", 0) == (placed if primitive else 0)


@pytest.mark.parametrize("primitive", [False, True])
@pytest.mark.parametrize("variant", CASES)
def test_multipliers(variant: str, primitive: bool) -> None:
    overlay, modules, found = array(variant, primitive)
    pes = overlay.pe_array.columns // 2 * overlay.pe_array.dot_length
    assert modules["pe"].operators["*"] == 1  # of the five bits in which two products overlap
    assert modules["dsp48e2_multiply"].operators.get("*", 0) == (not primitive)
    assert found.operators["*"] == pes * (1 if primitive else 2)
    assert found.operators["*"] == resources.multipliers(overlay, primitive=primitive)


@pytest.mark.parametrize("variant", CASES)
def test_port_widths(variant: str) -> None:
    overlay, modules, _ = array(variant)
    number = {"fp32": 32, "fp16": 16}[overlay.psum.format]
    request, bounds = 16 + 13, 13 + 16 + 16 + 16 + 5 + 11
    row, lanes = 16 * overlay.pe_array.dot_length, overlay.dma.hbm_ports + overlay.kv_buffer.ports
    token = (overlay.bitmask.tokens - 1).bit_length()
    widths = {
        "clk": 1, "rst": 1, "busy": 1, "closes": 1, "ended": 1, "active": 1, "missing": 3, "rounds": 16,
        "row": row, "row_b": row, "row_valid": 1,
        "operation__payload": 4 + bounds, "operation__valid": 1, "operation__ready": 1,
        "kv__payload": lanes * (overlay.clock.hbm_ratio * 256 + 1 + token) + 2, "kv__valid": 1, "kv__ready": 1,
        "constants__payload": 8 * overlay.ker.constant_bytes_per_cycle, "constants__valid": 1, "constants__ready": 1,
        "announce__payload": 1, "announce__valid": 1, "announce__ready": 1,
        "weights__payload": overlay.dma.hbm_ports * overlay.clock.hbm_ratio * 256,
        "weights__valid": 1, "weights__ready": 1,
        "request__payload": request, "request__valid": 1, "request__ready": 1,
        "results__payload": overlay.pe_array.columns * number + 2, "results__valid": 1, "results__ready": 1,
    }  # fmt: skip
    outputs = {"operation__ready", "weights__ready", "request__payload", "request__valid", "results__payload"}
    outputs |= {"results__valid", "busy", "closes", "ended", "active", "missing", "rounds"}
    outputs |= {"kv__ready", "constants__ready", "announce__ready"}
    ports = modules["pe_array"].ports
    assert {port.name: port.bits for port in ports} == widths
    assert {port.name for port in ports if port.direction == "out"} == outputs


@pytest.mark.parametrize("variant", CASES)
def test_every_module_has_the_registers_of_the_resource_model(variant: str) -> None:
    overlay, modules, found = array(variant)
    model = {module.name: module for module in resources.modules(overlay)}
    assert {name for name in modules if not name.startswith(SLICE)} == set(model)
    assert {name: module.flip_flops for name, module in model.items()} == {
        name: modules[name].flip_flop_bits for name in model
    }
    assert {name: module.count for name, module in model.items()} == {name: found.instances[name] for name in model}


@pytest.mark.parametrize("variant", CASES)
def test_memory_bits(variant: str) -> None:
    overlay, _, found = array(variant)
    entry = overlay.pe_array.columns * {"fp32": 32, "fp16": 16}[overlay.psum.format]
    row = 2 * 16 * overlay.pe_array.dot_length  # of both packed heads
    assert found.memory_bits == 2 * overlay.psum.entries * entry + overlay.ifm.rows * row


@pytest.mark.slow
def test_a_64_long_pair_of_columns() -> None:
    overlay = Overlay.load("skipopu-u280")
    modules = read_netlist(emit(ColumnPair(pe_array=overlay.pe_array, psum=overlay.psum)))
    found = totals(modules, "column_pair")
    assert found.instances["pe"] == found.instances["dsp48e2_multiply"] == 64
    assert found.instances["alignment"] == 128
    model = {module.name: module.flip_flops for module in resources.modules(overlay)}
    assert all(model[name] == each.flip_flop_bits for name, each in modules.items() if not name.startswith(SLICE))
    levels = sum(cut * 2 * (64 >> i) * (16 + i) for i, cut in enumerate(spread(6, 3), 1))
    assert modules["accumulation_tree"].flip_flop_bits == levels


def flip_flops(block: Block) -> int:
    """Of one module, what it places not counted."""
    return read_netlist(emit(block))[block.module].flip_flop_bits


@pytest.mark.parametrize("bits", [15, 22])
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 6])
def test_registers_of_a_pe(stages: int, bits: int) -> None:
    """Seven bits go round the slice: format, lowest bit, overlap. With A's and M's register inside, the correction's
    operands wait a cycle; with AD's, it waits itself. What the slice cannot take are products.
    """
    inside = min(stages, 4)
    expected = 7 * inside + (11 + 3) * (inside >= 3) + 38 * (inside == 4) + 2 * bits * (stages - inside)
    assert flip_flops(Pe(product_bits=bits, multiply_stages=stages)) == expected


@pytest.mark.parametrize(("bits", "distance"), [(15, 5), (22, 5), (18, 5)])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_registers_of_an_alignment(stages: int, bits: int, distance: int) -> None:
    """Distance (0 … bits + 1), product and sign; then the signed addend."""
    first, second = stages // 2, stages - stages // 2
    expected = first * (distance + bits + 1) + second * (bits + 1)
    assert flip_flops(Alignment(product_bits=bits, nearest=False, align_stages=stages)) == expected


@pytest.mark.parametrize(("format", "exponent", "fraction"), [("fp32", 8, 23), ("fp16", 5, 10)])
@pytest.mark.parametrize("stages", [1, 2, 4, 5])
def test_registers_of_a_float_adder(stages: int, format: str, exponent: int, fraction: int) -> None:
    """Significands carry a hidden one and three bits for rounding; NaN, infinite and its sign go along."""
    wide, flags = fraction + 4, 3
    aligned = 2 * wide + exponent + 2 + flags  # sign, subtract
    total = wide + 1 + exponent + 1 + flags
    normalised = wide + exponent + 1 + 1 + flags
    number = 1 + exponent + fraction
    cuts = spread(4, stages)
    expected = sum(n * bits for n, bits in zip(cuts, (aligned, total, normalised, number), strict=True)) - number
    assert flip_flops(FloatAdder(format=format, stages=stages, registered_output=False)) == expected


@pytest.mark.parametrize(
    ("columns", "length", "word", "broadcast"), [(8, 16, 128, 1), (4, 16, 32, 2), (6, 16, 64, 3), (2, 32, 64, 1)]
)
def test_registers_of_ker(columns: int, length: int, word: int, broadcast: int) -> None:
    """A word kept while a tile ends within it, and its gear; counters and flags of the halves."""
    tile = 2 * columns * length
    granule = math.gcd(word, tile, tile // 4)
    places, granules = word // granule, tile // granule
    kept = 8 * word + math.ceil(math.log2(places)) + 1 if places > 1 else 0  # word, place, tile begins
    gear = math.ceil(math.log2(granules + places))
    counters, flags = 16 + 16, 1 + 2 + 2 + 1 + 1  # tile, block; all loaded; loaded, occupied; half filled, in use
    assert flip_flops(KerWords(columns=columns, dot_length=length, word_bytes=word)) == kept + gear
    overlay = Overlay.load("tiny", (f"pe_array.columns={columns}", f"pe_array.dot_length={length}"))
    block = Ker(shape=ker_shape(overlay), word_bytes=word, broadcast_stages=broadcast)
    assert flip_flops(block) == counters + flags + 4 * broadcast


@pytest.mark.parametrize(
    ("settings", "pieces", "segments"),
    [
        ((), 2, 4),  # router weights of both modules in two words; 4 tiles of V, 8 columns wide, in a chunk of 32
        (("pe_array.columns=80", "kv_buffer.ports=20"), 2, 1),  # two chunks a tile of V
        (("clock.hbm_ratio=8", "ker.constant_bytes_per_cycle=16"), 8, 16),
        (("pe_array.columns=32", "ker.constant_bytes_per_cycle=512"), 1, 8),
    ],
)  # fmt: skip
def test_registers_of_ker_pieces(settings: tuple[str, ...], pieces: int, segments: int) -> None:
    """A counter of pieces, one of tiles in a chunk; never without a bit."""
    shape = ker_shape(Overlay.load("tiny", settings))
    assert (shape.pieces, shape.segments) == (pieces, segments)
    expected = sum(max(math.ceil(math.log2(count)), 1) for count in (pieces, segments))
    assert flip_flops(KerPieces(shape=shape)) == expected


@pytest.mark.parametrize(("length", "part"), [(16, 16), (16, 4), (64, 64)])
def test_registers_of_a_ker_bank(length: int, part: int) -> None:
    """Two halves of two columns of FP16 weights."""
    assert flip_flops(KerBank(dot_length=length, part_bytes=part)) == 2 * 2 * length * 16


SMALL = """
module small(input clk, input [3:0] a, output reg [4:0] b);
  wire [7:0] \\w$1 ;
  reg [7:0] q, r;
  reg [3:0] half;
  reg [7:0] store [15:0];
  reg [7:0] read;
  leaf one (.a(a));
  leaf two (.a(a));
  assign \\w$1 = a * q + (q * r);
  always @(posedge clk) begin
    b <= a;
    half[1:0] <= a[1:0];
    half[1] <= a[2];
    { q, r[3:0] } <= { a, a, a };
    if (a[0]) store[a] <= q;
    read <= store[a];
  end
  always @* (* full_case = 32'd1 *) r[7:4] = a;
endmodule
"""
MEMORIES = """
module memories(input clk, input [3:0] at, input [31:0] a, input signed [9:0] b, output [31:0] c, output [31:0] d);
  (* ram_style = "ultra" *)
  reg [31:0] late [15:0];
  reg [31:0] now [15:0];
  reg [3:0] _0_;
  integer word;
  initial
    for (word = 0; word < 16; word = word + 1)
      now[word] = 32'd0;
  always @(posedge clk) begin
    _0_ <= at;
    late[at][15:0] <= a[15:0];
    now[4'hb] <= a;
  end
  assign c = late[_0_];
  assign d = now[at] * { 1'h0, a[30:0] } + $signed(b) * (at ? 5'h3 : a[7:0]) + a * 8'h3;
endmodule
"""
LEAF = "module leaf(input [3:0] a); nut x (); nut y (); endmodule"


def test_facts_of_a_small_module() -> None:
    found = read_netlist({"small": SMALL, "leaf": LEAF})["small"]
    assert [(p.name, p.direction, p.bits) for p in found.ports] == [("clk", "in", 1), ("a", "in", 4), ("b", "out", 5)]
    assert found.instances == {"one": "leaf", "two": "leaf"}
    assert found.operators == {"*": 2, "+": 1}
    assert found.flip_flops == {"b": 5, "half": 2, "q": 8, "r": 4}
    assert [(m.words, m.bits, m.read_bits) for m in found.memories.values()] == [(16, 8, 8)]


def test_memories_are_told_by_how_they_are_read() -> None:
    """A read whose address is kept is late, as in block RAM; one without a clock edge is immediate; filling is none."""
    found = read_netlist({"memories": MEMORIES})["memories"].memories
    facts = {name: (m.words, m.bits, m.read_ports, m.immediate, m.addressed, m.style) for name, m in found.items()}
    assert facts == {"late": (16, 32, 1, 0, 1, "ultra"), "now": (16, 32, 1, 1, 0, "")}


def test_products_have_the_widths_of_their_factors() -> None:
    """Signs are not counted, and a constant factor is none; a word of a memory is as wide as the memory."""
    found = read_netlist({"memories": MEMORIES})["memories"].multipliers
    assert sorted(found) == [(9, 8), (32, 32)]


def test_what_was_read_is_kept_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(synthesis_cache, "directory", lambda: tmp_path)
    texts = {"small": SMALL, "memories": MEMORIES}
    netlist_kept.read_module.cache_clear()
    first = read_netlist(texts)
    netlist_kept.read_module.cache_clear()
    monkeypatch.setattr(netlist_reader, "read_module", lambda name, text: pytest.fail("read again"))
    told: list[tuple[int, int]] = []
    assert read_netlist(texts, lambda done, of: told.append((done, of))) == first
    assert told == [(1, 2), (2, 2)]


def test_the_hierarchy_is_multiplied_out() -> None:
    found = totals(read_netlist({"small": SMALL, "leaf": LEAF}), "small")
    assert found.instances == {"small": 1, "leaf": 2, "nut": 4}
    assert (found.operators["*"], found.flip_flop_bits, found.memory_bits) == (2, 19, 128)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"a": "module b(); endmodule"}, "Verilog of a: holds b; expected that module and nothing else"),
        ({"a": "module a(; endmodule"}, "Verilog of a: pyverilog cannot read it"),
    ],
)
def test_what_cannot_be_read_is_refused(texts: dict[str, str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        read_netlist(texts)


FAULTS: dict[str, Callable[[str], str]] = {
    "a register lost": lambda t: t.replace("int4_2 <= int4_1", "int4_2 <= int4_1;\n", 1).replace(
        "int4_3 <= int4_2;", ""
    ),
    "a register too many": lambda t: t.replace("endmodule", "reg spy; always @(posedge clk) spy <= rst; endmodule"),
    "a register too wide": lambda t: t.replace("reg [10:0] c_activation_1", "reg [11:0] c_activation_1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_counted(fault: str) -> None:
    overlay = Overlay.load("tiny")
    text = emit(PeArray(overlay=overlay))["pe"]
    specified = {module.name: module.flip_flops for module in resources.modules(overlay)}["pe"]
    spoilt = FAULTS[fault](text)
    assert spoilt != text
    assert read_netlist({"pe": text})["pe"].flip_flop_bits == specified
    assert read_netlist({"pe": spoilt})["pe"].flip_flop_bits != specified
