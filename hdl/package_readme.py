"""README.md of a written block: what it is, how to connect, simulate and implement it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from skipopu.hdl.datasheet import folded
from skipopu.hdl.package_facts import counts, is_array, latency, modules, percent
from skipopu.spec import resources

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
PLAIN = "Any Verilog simulator runs these files. Both clocks come from one source: drive aligned edges in one step."
URAM = "Banks of the invariance buffer carry `ram_style = \"ultra\"`; synchronisers carry `ASYNC_REG`."
SLICES = (
    "For implementation write the files with `--primitive`: a model of a slice need not become one.",
    "A `DSP48E2` is one slice with the registers its attributes name; nothing has to be inferred.",
)


def readme(made: "Package") -> str:
    """Return the text, Markdown."""
    resources_of_it = _resources(made) if is_array(made) else _memories(made)
    parts = (_head(made), _ports(made), _timing(made), _modules(made), resources_of_it, _use(made))
    return "\n".join(parts)


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
    text = f"## Ports\n\n{_table(('port', 'direction', 'bits', 'meaning'), rows)}"
    fields = [
        (f"`{p.name}`", f.name, f"{f.high}:{f.low}" if f.high > f.low else str(f.low))
        for p in ports
        for f in p.fields
    ]
    return text + f"\n{_table(('port', 'field', 'bits'), fields)}"


def _timing(made: "Package") -> str:
    if not is_array(made):
        return f"## Timing\n\n{made.sheet.timing}\n"
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
    return f"## Modules\n\n{_table(head, rows)}"


def _comment(text: str) -> str:
    """What stands over a module."""
    return text.splitlines()[0].removeprefix("//").strip()


def _resources(made: "Package") -> str:
    shares, there = percent(made), asdict(made.board.resources)
    model = asdict(resources.pe_array(made.overlay))
    rows = [(n, f"{v:,}", f"{there[n]:,}", f"{shares[n]:.1f} %") for n, v in model.items()]
    return (
        "## Resources\n\nCounted from the parameters, not synthesised; no packing, no placement.\n\n"
        f"{_table(('cell', 'model', made.board.name, 'share'), rows)}"
    )


def _memories(made: "Package") -> str:
    rows = [(count.what, f"{count.verilog:,}", f"{count.specified:,}") for count in counts(made)]
    return f"## Memories\n\n{_table(('', 'Verilog', 'specified'), rows)}"


def _use(made: "Package") -> str:
    models, slices = (MODELS[made.primitive], SLICES[made.primitive]) if is_array(made) else (PLAIN, URAM)
    return USE.format(top=made.block, models=models, slices=slices)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
