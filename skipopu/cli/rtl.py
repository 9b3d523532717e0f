"""`skipopu rtl`: a block's Verilog to take away, checked against the specification."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from skipopu.cli.options import BOARD, BoardName, OverlayName, Settings
from skipopu.cli.terminal import columns, progress, say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.hdl.package import Package
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay

WHOLE = 100  # per cent
SHOWN_LEVELS = 2  # of the hierarchy; all of it is in the README


def rtl(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The directory for the files.")],
    block: Annotated[
        str,
        typer.Argument(metavar="[BLOCK]", help="Of it: pe_array, npe, memory_system, … Default: all of it."),
    ] = "overlay",
    overlay: OverlayName = "tiny",
    board: BoardName = BOARD,
    settings: Settings = None,
    primitive: Annotated[
        bool, typer.Option("--primitive", help="The vendor's DSP48E2, not its behavioural model.")
    ] = False,
    synth: Annotated[
        bool, typer.Option("--synth", help="Also synthesise with yosys; of pe_array two columns.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json and nothing else.")] = False,
) -> None:
    """Write the overlay, or a block of it, as Verilog, one file a module.

    With list of files, constraints, README, and of the overlay a script for Vivado; prints what was counted in it
    beside the specification, and estimates of its resources.
    """
    from skipopu import machine

    chosen, card = machine(overlay, board, settings or ())
    try:
        made = _made(block, chosen, card, primitive, out)
        made = _synthesised(made) if synth else made
    except ModuleNotFoundError as error:
        raise SpecError(f"skipopu rtl needs {error.name}; pip install 'skipopu[rtl]'") from None
    _check(made)
    _write(made, out)
    if json:
        from skipopu.hdl.package import SUMMARY

        sys.stdout.write((out / SUMMARY).read_text(encoding="utf-8"))
    else:
        _show(made, out)


def _made(block: str, overlay: "Overlay", board: "Board", primitive: bool, out: Path) -> "Package":
    """Generate the block, once it is known to have a place."""
    from skipopu.hdl.package import names_of_files, package
    from skipopu.results.place import check_place
    from skipopu.results.provenance import digest, leaves

    listed = out / f"{block}.f"
    check_place(out, names_of_files(block, listed.read_text(encoding="utf-8") if listed.is_file() else None))
    sha256 = digest(leaves(overlay.provenance))
    with _failing_synthesis(), progress("Verilog, modules read") as bar:
        return package(block, overlay, board, sha256, primitive=primitive, progress=bar)


def _synthesised(made: "Package") -> "Package":
    """Add what yosys makes of it, module by module."""
    from skipopu.hdl.package import with_synthesis

    with _failing_synthesis(), progress("synthesis, modules") as bar:
        return with_synthesis(made, bar)


@contextmanager
def _failing_synthesis() -> Iterator[None]:
    """Yosys that fails is a failed check."""
    from skipopu.hdl.yosys import SynthesisError

    try:
        yield
    except SynthesisError as error:
        _fail(str(error))


def _check(made: "Package") -> None:
    """Verilog that is not as specified is a failed check; nothing is written."""
    from skipopu.hdl.package_facts import deviations

    found = list(deviations(made))
    if found:
        _fail("; ".join(found))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"skipopu: {message}\n")
    raise typer.Exit(1)


def _write(made: "Package", out: Path) -> None:
    from skipopu.results.place import replacing

    with replacing(out) as aside:
        for name, text in made.files().items():
            (aside / name).write_text(text, encoding="utf-8")


def _show(made: "Package", out: Path) -> None:
    from skipopu.hdl.datasheet import folded
    from skipopu.hdl.package import SHOWN_HASH
    from skipopu.hdl.package_blocks import OVERLAY
    from skipopu.hdl.package_counts import counts
    from skipopu.hdl.package_facts import is_array
    from skipopu.hdl.package_hierarchy import hierarchy, tree

    overlay = made.overlay
    mhz = overlay.clock.core_mhz
    say(f"{made.block} of overlay {overlay.name}, parameters {made.sha256[:SHOWN_HASH]}, {mhz:g} MHz\n")
    ports = [(p.name, p.direction, str(p.bits), p.meaning) for p in folded(made.sheet.ports)]
    say(columns([("port", "", "bits", ""), *ports]) + "\n")
    say(columns(_modules(made)) + "\n" if is_array(made) else tree(hierarchy(made.netlists, made.block, SHOWN_LEVELS)))
    rows = [(c.what, f"{c.verilog:,}", f"{c.specified:,}") for c in counts(made)]
    say(columns([("", "Verilog", "specified"), *rows]) + "\n")
    if is_array(made):
        _show_array(made)
    if made.block == OVERLAY:
        _show_overlay(made)
    say(f"Verilog: {out / f'{made.block}.f'}, {len(made.texts)} files")


def _show_array(made: "Package") -> None:
    """Latency and resources of the PE array."""
    from skipopu.hdl.package_facts import latency, percent

    steps = " + ".join(f"{name} {cycles}" for name, cycles in latency(made).items())
    say(f"row issued to sum in PSUM: {steps} = {made.overlay.pe_latency} cycles\n")
    say(columns(_resources(made)) + "\n")
    if over := [name for name, share in percent(made).items() if share > WHOLE]:
        say(f"does not fit on {made.board.name} by this model: {', '.join(over)}\n")


def _show_overlay(made: "Package") -> None:
    """Resources block by block, estimated and, where it was asked for, synthesised."""
    from skipopu.hdl.package_parts import parts, synthesised_parts
    from skipopu.hdl.package_resources import CELLS, COMPARED, does_not_fit, rows_compared, rows_of_parts

    head = ("", *CELLS, "how")
    say(f"in per cent of {made.board.name}; LUT is an estimate, all else counted in the Verilog; before placement")
    say(columns([head, *rows_of_parts(made, parts(made))]) + "\n")
    if made.synthesis is not None:
        say(columns([head, *rows_of_parts(made, synthesised_parts(made))]) + "\n")
        say("the estimate beside yosys")
        say(columns([("", *COMPARED), *rows_compared(made)]) + "\n")
    over = does_not_fit(made)
    say(f"does not fit on {made.board.name} by this estimate: {', '.join(over)}\n" if over else
        f"fits on {made.board.name} by this estimate\n")  # fmt: skip


def _modules(made: "Package") -> list[tuple[str, ...]]:
    """Every module; flip-flops of a slice are its own affair."""
    from skipopu.hdl.package_facts import modules

    rows: list[tuple[str, ...]] = [("module", "instances", "flip-flop bits", "specified")]
    for m in modules(made):
        specified = "slice" if m.specified_flip_flop_bits is None else f"{m.specified_flip_flop_bits:,}"
        rows.append((m.name, f"{m.instances:,}", f"{m.flip_flop_bits:,}", specified))
    return rows


def _resources(made: "Package") -> list[tuple[str, ...]]:
    from skipopu.hdl.package_facts import percent, synthesised
    from skipopu.hdl.package_resources import CELLS
    from skipopu.spec import resources

    rows = [
        ("", *CELLS),
        ("model of the block", *_numbers(resources.pe_array(made.overlay).values())),
        (f"of {made.board.name}", *(f"{share:.1f} %" for share in percent(made).values())),
        ("model of two columns", *_numbers(resources.column_pair(made.overlay).values())),
    ]
    if made.synthesis is not None:
        rows.append(("yosys, two columns", *_numbers(synthesised(made.synthesis).estimate.values())))
    return rows


def _numbers(values: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{value:,}" for value in values)
