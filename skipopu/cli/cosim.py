"""`skipopu cosim`: RTL against numerics and simulator, every bit and every cycle."""

import dataclasses
import json as json_text
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipopu.cli.cosim_overlay import DECODE, LAYERS, PROMPT, WHOLE, Work, cosim_overlay, refuse
from skipopu.cli.cosim_runs import show_run
from skipopu.cli.options import OverlayName, Settings
from skipopu.cli.terminal import say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.spec.overlay import Overlay

BLOCKS = ("pe_array", "npe", "router", "dma", "kv_buffer", "kv_append", "ddr", WHOLE)
OF_TILES = ("pe_array", "npe", "router")  # weight tiles; words and row tiles of every function; tokens
TILES, BURSTS, DDR_BURSTS = 20_000, 100_000, 1_000  # ddr's bench steps every byte and row tile in Python


def cosim(
    block: Annotated[str, typer.Argument(metavar="BLOCK", help=f"One of: {', '.join(BLOCKS)}.")],
    overlay: OverlayName = "tiny",
    settings: Settings = None,
    columns: Annotated[
        int | None, typer.Option(min=2, help="pe_array: only so many columns, and the HBM ports that feed them.")
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(min=1, help=f"{', '.join(OF_TILES)}: random tiles, or tokens [{TILES}].")
    ] = None,
    bursts: Annotated[
        int | None,
        typer.Option(min=1, help=f"dma, kv_buffer, kv_append, ddr: random AXI bursts [{BURSTS}; ddr {DDR_BURSTS}]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the work, its numbers and the stalls.")] = 0,
    waves: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the waveform (dump.fst) there.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help=f"overlay: of the shipped model [{LAYERS}].")] = None,
    prompt: Annotated[int | None, typer.Option(min=1, help=f"overlay: tokens prefilled [{PROMPT}].")] = None,
    decode: Annotated[int | None, typer.Option(min=0, help=f"overlay: tokens decoded [{DECODE}].")] = None,
    case: Annotated[
        Path | None, typer.Option(metavar="FILE", help="overlay: a random case, as a failed test leaves it.")
    ] = None,
    stall_seed: Annotated[
        int | None, typer.Option(min=0, help="overlay: random stalls on every AXI channel; then times are free.")
    ] = None,
    accuracy: Annotated[bool, typer.Option(help="pe_array: also print the accuracy table.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")] = False,
) -> None:
    """Run a block's RTL in Verilator beside numerics and simulator.

    Random work, random stalls on every stream; prints what was compared, or the first difference. npe: words of
    results out of PSUM, row tiles on their way in, and row statistics. router: from logits to row masks, row lists and
    bitmask. dma: the HBM ports with their AXI side. kv_buffer: bitmask, scheduler and invariance buffer, with the DMA
    below them. kv_append: rows of K and V from row tiles to bursts, and into the bitmask. ddr: load, store,
    global buffer and the DDR4 ports. overlay: a whole model, all instructions, every byte of both memories.
    """
    from skipopu.spec.overlay import Overlay

    work = Work(layers, prompt, decode, case, stall_seed)
    if block == WHOLE:
        refuse(block, {"columns": columns, "tiles": tiles, "bursts": bursts, "seed": seed or None})
        cosim_overlay(overlay, settings or [], work, waves, json)
        return
    refuse(block, vars(work))
    _check(block, columns, tiles, bursts)
    chosen = _sliced(Overlay.load(overlay, tuple(settings or ())), overlay, columns, settings or [])
    amount = (tiles or TILES) if block in OF_TILES else bursts or (DDR_BURSTS if block == "ddr" else BURSTS)
    found = _cosimulation(block)(chosen, amount, seed, waves=waves)
    tables = _accuracy(chosen, seed) if accuracy and block == "pe_array" else {}
    if json:
        _write_json(found, tables)
    else:
        show_run(block, found, chosen)
        _show_result(found, chosen, tables)
    if found.difference is not None:
        raise typer.Exit(1)


def _check(block: str, columns: int | None, tiles: int | None, bursts: int | None) -> None:
    if block not in BLOCKS:
        raise SpecError(f"cosim {block}: no such block; expected one of: {', '.join(BLOCKS)}")
    foreign: dict[str, int | None] = {"--bursts": bursts} if block in OF_TILES else {"--tiles": tiles}
    foreign |= {} if block == "pe_array" else {"--columns": columns}
    for option, value in foreign.items():
        if value is not None:
            size = "pe_array.columns" if block in OF_TILES else "dma.hbm_ports"
            instead = f"{'--tiles' if block in OF_TILES else '--bursts'} and --set {size}=N"
            raise SpecError(f"cosim {block}: {option} {value} is not for this block; use {instead}")


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


def _cosimulation(block: str) -> Callable[..., Any]:
    from importlib import import_module

    try:
        found: Callable[..., Any] = import_module(f"skipopu.hdl.cosim.{block}").cosimulate
    except ModuleNotFoundError as error:
        raise SpecError(f"cosim needs {error.name}; pip install 'skipopu[rtl]'") from None
    return found


def _accuracy(overlay: "Overlay", seed: int) -> dict[str, Any]:
    from skipopu.cli.accuracy import accuracy_tables

    return dict(accuracy_tables(overlay.pe_array.dot_length, seed))


def _write_json(found: Any, tables: dict[str, Any]) -> None:
    from skipopu.cli.accuracy import as_json

    values = dataclasses.asdict(found)
    if "difference" not in values:  # of several runs together
        values["difference"] = dataclasses.asdict(found.difference) if found.difference else None
    values |= {"accuracy": as_json(tables)} if tables else {}
    sys.stdout.write(json_text.dumps(values, indent=1) + "\n")


def _show_result(found: Any, overlay: "Overlay", tables: dict[str, Any]) -> None:
    from skipopu.cli.accuracy import show_accuracy
    from skipopu.numerics.arithmetic import arithmetic_of

    say(f"{found.cycles} cycles; build {found.build_seconds:.0f} s, run {found.run_seconds:.0f} s")
    if found.difference is None:
        say("RTL = numerics in every bit, RTL = simulator in every cycle")
    else:
        say(f"first difference: {found.difference}")
    if tables:
        show_accuracy(tables, arithmetic_of(overlay))
