"""`skipopu cosim`: RTL against numerics and simulator, every bit and every cycle."""

import dataclasses
import json as json_text
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipopu.cli.options import OverlayName, Settings
from skipopu.cli.terminal import say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.hdl.cosim.dma import DmaRun
    from skipopu.hdl.cosim.kv_buffer import KvBufferRun
    from skipopu.hdl.cosim.pe_array import PeArrayRun
    from skipopu.spec.overlay import Overlay

BLOCKS = ("pe_array", "dma", "kv_buffer")
TILES, BURSTS = 20_000, 100_000


def cosim(
    block: Annotated[str, typer.Argument(metavar="BLOCK", help=f"One of: {', '.join(BLOCKS)}.")],
    overlay: OverlayName = "tiny",
    settings: Settings = None,
    columns: Annotated[
        int | None, typer.Option(min=2, help="pe_array: only so many columns, and the HBM ports that feed them.")
    ] = None,
    tiles: Annotated[int | None, typer.Option(min=1, help=f"pe_array: random weight tiles [{TILES}].")] = None,
    bursts: Annotated[
        int | None, typer.Option(min=1, help=f"dma, kv_buffer: random AXI bursts [{BURSTS}].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the work, its numbers and the stalls.")] = 0,
    waves: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the waveform (dump.fst) there.")] = None,
    accuracy: Annotated[bool, typer.Option(help="pe_array: also print the accuracy table.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")] = False,
) -> None:
    """Run a block's RTL in Verilator beside numerics and simulator.

    Random work, random stalls on every stream; prints what was compared, or the first difference. dma: the HBM
    ports with their AXI side. kv_buffer: bitmask, scheduler and invariance buffer, with the DMA below them.
    """
    from skipopu.spec.overlay import Overlay

    _check(block, columns, tiles, bursts)
    chosen = _sliced(Overlay.load(overlay, tuple(settings or ())), overlay, columns, settings or [])
    amount = (tiles or TILES) if block == "pe_array" else (bursts or BURSTS)
    found = _cosimulation(block)(chosen, amount, seed, waves=waves)
    tables = _accuracy(chosen, seed) if accuracy and block == "pe_array" else {}
    if json:
        _write_json(found, tables)
    else:
        SHOW[block](found, chosen)
        _show_result(found, chosen, tables)
    if found.difference is not None:
        raise typer.Exit(1)


def _check(block: str, columns: int | None, tiles: int | None, bursts: int | None) -> None:
    if block not in BLOCKS:
        raise SpecError(f"cosim {block}: no such block; expected one of: {', '.join(BLOCKS)}")
    foreign = {"--bursts": bursts} if block == "pe_array" else {"--columns": columns, "--tiles": tiles}
    for option, value in foreign.items():
        if value is not None:
            instead = "--tiles" if block == "pe_array" else "--bursts and --set dma.hbm_ports=N"
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

    values = dataclasses.asdict(found) | ({"accuracy": as_json(tables)} if tables else {})
    sys.stdout.write(json_text.dumps(values, indent=1) + "\n")


def _show_pe_array(r: "PeArrayRun", overlay: "Overlay") -> None:
    pe = overlay.pe_array
    say(f"pe_array of {r.overlay}: {pe.columns} columns × {pe.dot_length}, latency {overlay.pe_latency} cycles")
    say(f"{r.operations} operations, {r.tiles} weight tiles, {r.products / 1e6:.1f} M products, {r.entries} entries")


def _show_dma(r: "DmaRun", overlay: "Overlay") -> None:
    say(f"dma of {r.overlay}: {overlay.dma.hbm_ports} HBM ports, {overlay.clock.hbm_ratio} ticks a core cycle")
    say(f"{r.bursts} AXI bursts, {r.words} words of weights, {r.chunks} chunks of K/V")


def _show_kv_buffer(r: "KvBufferRun", overlay: "Overlay") -> None:
    say(f"kv_buffer of {r.overlay}: {overlay.dma.hbm_ports} HBM ports, {overlay.buffer_ports} buffer ports")
    say(
        f"{r.operations} reads of K or V, {r.rounds} rounds, {r.entries} entries, {r.coverage.buffered} of them from"
        f" the buffer; {r.bursts} AXI bursts, {r.transfers} chunk sets"
    )
    counts = dataclasses.asdict(r.coverage).items()
    say("exercised: " + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts))


SHOW: dict[str, Callable[[Any, "Overlay"], None]] = {
    "pe_array": _show_pe_array, "dma": _show_dma, "kv_buffer": _show_kv_buffer,
}  # fmt: skip


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
