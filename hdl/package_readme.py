"""README.md of a written block: what it is, how to connect, simulate and implement it."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from skipopu.hdl.datasheet import folded
from skipopu.hdl.package_blocks import OVERLAY
from skipopu.hdl.package_facts import has_slices, is_array, latency, modules
from skipopu.hdl.package_hierarchy import hierarchy, tree
from skipopu.hdl.package_readme_resources import of_array, of_blocks, of_memories, table

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

USE = """\
## Simulate and lint

In this directory, with Verilator 5:

```sh
verilator --lint-only -Wno-fatal --top-module {top} -f {top}.f
```

{models}

## Implement

In Vivado, out of context (the U280 is part xcu280-fsvh2892-2L-e):

```tcl
read_verilog [glob *.v]
read_xdc -mode out_of_context {top}.xdc
synth_design -top {top} -part $part -mode out_of_context
```

{slices}
"""
MODELS = (
    "The DSP slices are behavioural models: any Verilog simulator runs these files.",
    "The DSP slices are the vendor's primitive: a simulator needs `DSP48E2` of Vivado's unisims as well.",
)
SPECIFIED = "Latencies are those of `skipopu.spec.Overlay`; `skipopu sim` counts cycles by the same numbers."
PACKAGE = """\
`{top}.tcl` packages the files as an IP: AXI masters `hbm_p` (clock `hbm_clk`) and `ddr_c` (clock `clk`), the slave
`s_axi`, the interrupt, clocks and resets. It is written after the documentation of the commands (UG1118): there was no
Vivado at hand to run it.

```sh
vivado -mode batch -source {top}.tcl
```
"""
PLAIN = "Any Verilog simulator runs these files. Both clocks come from one source: drive aligned edges in one step."
URAM = 'Banks of the invariance buffer carry `ram_style = "ultra"`; synchronisers carry `ASYNC_REG`.'
SLICES = (
    "For implementation write the files with `--primitive`: a model of a slice need not become one.",
    "A `DSP48E2` is one slice with the registers its attributes name; nothing has to be inferred.",
)


def readme(made: "Package") -> str:
    """Return the text, Markdown."""
    counted = of_array(made) if is_array(made) else of_memories(made)
    of_overlay = (_registers(made), of_blocks(made)) if made.block == OVERLAY else ()
    parts = (_head(made), _ports(made), _timing(made), _hierarchy(made), _modules(made), counted)
    return "\n".join((*parts, *of_overlay, _use(made)))


def _head(made: "Package") -> str:
    return (
        f"# {made.block}\n\n{made.sheet.summary}\n\n"
        f"Overlay {made.overlay.name}, parameters sha256 `{made.sha256}`.\n"
        f"Written by skipopu {version('skipopu')}.\n"
        f"`{made.block}.f` lists the files, children first; `{made.block}.xdc` holds the clock;\n"
        "`summary.json` the figures below.\n"
    )


def _ports(made: "Package") -> str:
    ports = list(folded(made.sheet.ports))
    rows = [(f"`{p.name}`", p.direction, str(p.bits), p.meaning) for p in ports]
    text = f"## Ports\n\n{table(('port', 'direction', 'bits', 'meaning'), rows)}"
    fields = [
        (f"`{p.name}`", f.name, f"{f.high}:{f.low}" if f.high > f.low else str(f.low)) for p in ports for f in p.fields
    ]
    return text + f"\n{table(('port', 'field', 'bits'), fields)}"


def _timing(made: "Package") -> str:
    if not is_array(made):
        return f"## Timing\n\n{made.sheet.timing}\n{SPECIFIED}\n"
    steps = " + ".join(f"{name} {cycles}" for name, cycles in latency(made).items())
    mhz = made.overlay.clock.core_mhz
    return (
        f"## Timing\n\n{made.sheet.timing}\n\n"
        f"Here: {steps} = {made.overlay.pe_latency} cycles of {made.period_ns:.3f} ns ({mhz:g} MHz).\n"
    )


def _modules(made: "Package") -> str:
    head = ("module", "instances", "flip-flop bits of one", "what it does")
    rows = [
        (f"`{m.name}`", f"{m.instances:,}", f"{m.flip_flop_bits:,}", _comment(made.texts[m.name]))
        for m in modules(made)
    ]
    return f"## Modules\n\n{table(head, rows)}"


def _hierarchy(made: "Package") -> str:
    places = hierarchy(made.netlists, made.block)
    what = "Flip-flops and memory bits of one with all below it, as pyverilog finds them in the Verilog."
    return f"## Hierarchy\n\n{what}\n\n```\n{tree(places)}```\n"


def _registers(made: "Package") -> str:
    """What a host reads and writes."""
    from skipopu.hdl.kv_layout import kv_shape
    from skipopu.hdl.register_map import register_table

    what = "Over `s_axi`. What is refused ends in SLVERR; all but the interrupt is written while no program runs."
    return f"## Registers\n\n{what}\n\n{register_table(made.overlay, kv_shape(made.overlay))}"


def _comment(text: str) -> str:
    """What stands over a module."""
    return text.splitlines()[0].removeprefix("//").strip()


def _use(made: "Package") -> str:
    models, slices = (MODELS[made.primitive], SLICES[made.primitive]) if has_slices(made) else (PLAIN, URAM)
    text = USE.format(top=made.block, models=models, slices=slices)
    return f"{text}{URAM}\n\n{PACKAGE.format(top=made.block)}" if made.block == OVERLAY else text
