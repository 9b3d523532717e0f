"""`skipopu cosim`: RTL against numerics and simulator, every bit and every cycle."""

import dataclasses
import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipopu.cli.options import OverlayName, Settings
from skipopu.cli.terminal import say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.hdl.cosim.pe_array import PeArrayRun
    from skipopu.spec.overlay import Overlay

BLOCKS = ("pe_array",)
TILES = 20_000


def cosim(
    block: Annotated[str, typer.Argument(metavar="BLOCK", help=f"One of: {', '.join(BLOCKS)}.")],
    overlay: OverlayName = "tiny",
    settings: Settings = None,
    columns: Annotated[
        int | None, typer.Option(min=2, help="Only so many columns, and the HBM ports that feed them.")
    ] = None,
    tiles: Annotated[int, typer.Option(min=1, help="Random weight tiles.")] = TILES,
    seed: Annotated[int, typer.Option(min=0, help="Of tiles, numbers and stalls.")] = 0,
    waves: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the waveform (dump.fst) there.")] = None,
    accuracy: Annotated[bool, typer.Option(help="Also print the accuracy table.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")] = False,
) -> None:
    """Run a block's RTL in Verilator beside numerics and simulator.

    Random work, random stalls on every stream; prints what was compared, or the first difference.
    """
    from skipopu.cli.accuracy import accuracy_tables, as_json, show_accuracy
    from skipopu.numerics.arithmetic import arithmetic_of
    from skipopu.spec.overlay import Overlay

    _check_block(block)
    chosen = _sliced(Overlay.load(overlay, tuple(settings or ())), overlay, columns, settings or [])
    found = _run(chosen, tiles, seed, waves)
    tables = accuracy_tables(chosen.pe_array.dot_length, seed) if accuracy else {}
    if json:
        values = dataclasses.asdict(found) | {"accuracy": as_json(tables)}
        sys.stdout.write(json_text.dumps(values, indent=1) + "\n")
    else:
        _show(found, chosen)
        if tables:
            show_accuracy(tables, arithmetic_of(chosen))
    if found.difference is not None:
        raise typer.Exit(1)


def _check_block(block: str) -> None:
    if block not in BLOCKS:
        raise SpecError(f"cosim {block}: no such block; expected one of: {', '.join(BLOCKS)}")


def _sliced(whole: "Overlay", name: str, columns: int | None, settings: list[str]) -> "Overlay":
    """The overlay with fewer columns, fed at the same rate a column."""
    from skipopu.spec.overlay import Overlay

    if columns is None:
        return whole
    ports, rest = divmod(whole.dma.hbm_ports * columns, whole.pe_array.columns)
    if rest or ports == 0:
        step = whole.pe_array.columns // whole.dma.hbm_ports
        raise SpecError(f"--columns {columns}: not fed by whole HBM ports; give a multiple of {step}")
    return Overlay.load(name, (*settings, f"pe_array.columns={columns}", f"dma.hbm_ports={ports}"))


def _run(overlay: "Overlay", tiles: int, seed: int, waves: Path | None) -> "PeArrayRun":
    try:
        from skipopu.hdl.cosim.pe_array import cosimulate
    except ModuleNotFoundError as error:
        raise SpecError(f"cosim needs {error.name}; pip install 'skipopu[rtl]'") from None
    return cosimulate(overlay, tiles, seed, waves=waves)


def _show(r: "PeArrayRun", overlay: "Overlay") -> None:
    pe = overlay.pe_array
    say(f"pe_array of {r.overlay}: {pe.columns} columns × {pe.dot_length}, latency {overlay.pe_latency} cycles")
    say(
        f"{r.operations} operations, {r.tiles} weight tiles, {r.products / 1e6:.1f} M products, {r.entries} entries"
        f" in {r.cycles} cycles; build {r.build_seconds:.0f} s, run {r.run_seconds:.0f} s"
    )
    if r.difference is None:
        say("RTL = numerics in every bit, RTL = simulator in every cycle")
    else:
        say(f"first difference: {r.difference}")
