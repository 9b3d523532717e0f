"""The whole overlay of ``tiny`` as Verilog: ports, hierarchy, memories and names, against figures worked out here."""

import re
from functools import cache

import pytest

from skipopu.hdl.datasheet import datasheet
from skipopu.hdl.emission import emitted
from skipopu.hdl.netlist import Netlist, read_netlist, totals
from skipopu.hdl.overlay import Overlay as Processor
from skipopu.hdl.package_hierarchy import hierarchy, tree
from skipopu.spec.overlay import Overlay

COMMENT = re.compile(r"//.*")
# of an AXI master: out, then in
READ = ("araddr", "arburst", "arid", "arlen", "arsize", "arvalid", "arready", "rid", "rdata", "rresp", "rlast",
        "rvalid", "rready")  # fmt: skip
WRITE = ("awaddr", "awburst", "awid", "awlen", "awsize", "awvalid", "awready", "wdata", "wstrb", "wlast", "wvalid",
         "wready", "bid", "bresp", "bvalid", "bready")  # fmt: skip


@cache
def tiny() -> tuple[Overlay, dict[str, str], dict[str, Netlist]]:
    overlay = Overlay.load("tiny")
    texts = emitted(Processor(overlay=overlay))
    return overlay, texts, read_netlist(texts)


def test_ports_stand_in_the_order_of_the_docstring() -> None:
    _, _, netlists = tiny()
    first = [re.split(r"__|(?<=s_axi)_", port.name)[0] for port in netlists["overlay"].ports]
    order = list(dict.fromkeys(first))
    clocks = ["hbm_clk", "hbm_rst", "clk", "rst"]
    assert order == [*clocks, "s_axi", "interrupt", "hbm", "ddr", "retire", "causes", "running"]


def test_every_memory_has_all_channels_of_a_master() -> None:
    """Two pseudo-channels of 256 bits, two channels of DDR4 of 512; 16 beats need four bits."""
    _, _, netlists = tiny()
    ports = {port.name: port for port in netlists["overlay"].ports}
    for memory, bits in (("hbm", 256), ("ddr", 512)):
        for number in range(2):
            names = [name.split("__")[2] for name in ports if name.startswith(f"{memory}__{number}__")]
            assert tuple(names) == READ + WRITE
            assert ports[f"{memory}__{number}__rdata"].bits == ports[f"{memory}__{number}__wdata"].bits == bits
            assert ports[f"{memory}__{number}__arlen"].bits == 4
    assert sum(name.endswith("__araddr") for name in ports) == 4


def test_every_port_has_a_meaning() -> None:
    overlay, _, netlists = tiny()
    sheet = datasheet(Processor(overlay=overlay), netlists["overlay"].ports)
    assert all(port.meaning for port in sheet.ports)
    assert {p.name: p.meaning for p in sheet.ports}["interrupt"] == "level"


def test_no_name_is_escaped_or_generated() -> None:
    _, texts, _ = tiny()
    for name, text in texts.items():
        plain = COMMENT.sub("", text)
        assert "\\" not in plain, name
        assert set(re.findall(r"\$\w+|\w+\$\w*", plain)) <= {"$signed"}, name


def test_every_module_begins_with_what_it_is() -> None:
    _, texts, _ = tiny()
    for name, text in texts.items():
        heading, _, rest = text.partition("\n")
        assert re.fullmatch(r"// .{15,}", heading), name
        assert rest.startswith(f"module {name}(")
        assert text.count("endmodule") == 1


def test_registers_are_written_on_rising_edges_of_two_clocks_only() -> None:
    _, texts, _ = tiny()
    edges = {edge for text in texts.values() for edge in re.findall(r"always @\(([^*)]+)\)", text)}
    assert edges == {"posedge clk", "posedge hbm_clk"}


def test_the_parts_are_those_of_the_machine() -> None:
    _, _, netlists = tiny()
    found = totals(netlists, "overlay").instances
    once = ("frontend", "memory_system", "transfer_engines", "matrix_control", "npe", "pe_array", "global_buffer")
    assert [found[name] for name in (*once, "constants", "kv_append", "control")] == [1] * 10
    assert found["engine_queue"] == 6
    assert found["cause_counter"] == 8
    assert found["kv_bank"] == found["write_data"] == 2


@pytest.mark.parametrize(
    ("module", "memory", "words", "bits", "ports"),
    [
        ("global_buffer", "tiles", 1024, 16 * 16, 2), ("kv_bank", "memory", 32, 512, 1), ("ifm", "memory", 32, 512, 1),
        ("psum_half", "memory", 256, 8 * 32, 1), ("bitmask", "even", 4 * 256, 1, 1),
    ],
)  # fmt: skip
def test_memories(module: str, memory: str, words: int, bits: int, ports: int) -> None:
    found = tiny()[2][module].memories[memory]
    assert (found.words, found.bits, found.read_ports, found.immediate) == (words, bits, ports, 0)
    assert found.style == ("ultra" if module == "kv_bank" else "")


def test_the_hierarchy_adds_up() -> None:
    """What stands below a module and its own registers are what it holds."""
    _, _, netlists = tiny()
    places = hierarchy(netlists, "overlay", levels=1)
    assert places[0].module == "overlay"
    below = sum(place.instances * place.flip_flop_bits for place in places[1:])
    assert below + netlists["overlay"].flip_flop_bits == places[0].flip_flop_bits
    assert sum(place.instances * (1 + place.modules_below) for place in places[1:]) == places[0].modules_below
    assert len(tree(places).splitlines()) == len(places)
