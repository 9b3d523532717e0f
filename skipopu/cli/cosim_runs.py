"""What `skipopu cosim` says of a run, block by block."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skipopu.cli.terminal import say

if TYPE_CHECKING:
    from skipopu.hdl.cosim.ddr import DdrRun
    from skipopu.hdl.cosim.dma import DmaRun
    from skipopu.hdl.cosim.kv_append import KvAppendRun
    from skipopu.hdl.cosim.kv_buffer import KvBufferRun
    from skipopu.hdl.cosim.npe import NpeRun
    from skipopu.hdl.cosim.pe_array import PeArrayRun
    from skipopu.hdl.cosim.router import RouterRun
    from skipopu.spec.overlay import Overlay


def show_run(block: str, run: Any, overlay: "Overlay") -> None:
    """Print what was compared."""
    SHOW[block](run, overlay)


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


def _show_kv_append(r: "KvAppendRun", overlay: "Overlay") -> None:
    ports, tile, chunk = overlay.dma.hbm_ports, overlay.tile_bytes, overlay.chunk_bytes
    say(f"kv_append of {r.overlay}: {ports} HBM ports, row tiles of {tile} bytes, chunks of {chunk}")
    say(f"{r.operations} appends of K or V, {r.skipped} of them without a row; {r.rows} rows, {r.tiles} row tiles")
    say(f"{r.bursts} AXI bursts, {r.cut} of them cut short before a 4 KiB boundary; every byte where it must lie")


def _show_ddr(r: "DdrRun", overlay: "Overlay") -> None:
    say(f"ddr of {r.overlay}: row tiles of {overlay.tile_bytes} bytes, words of {overlay.ddr_bytes_per_cycle}")
    say(
        f"{r.instructions} loads and stores, {r.bursts} AXI bursts, {r.stalled_bursts} of them with a memory that"
        f" stalls; {r.tiles_loaded} row tiles loaded, {r.tiles_stored} stored, {r.tiles_read} read beside them"
    )


def _show_npe(r: "NpeRun", overlay: "Overlay") -> None:
    n = overlay.npe
    say(
        f"npe of {r.overlay}: results {overlay.result_latency} cycles after their request, row tiles"
        f" {n.operand_latency} after they are read, statistics {n.statistics_latency} after the tile"
    )
    for side, found, (least, most), what in (
        ("words of results", r.results, r.results.rows, "rows"),
        ("row tiles", r.operands, r.operands.elements, "elements a row"),
    ):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(found.functions.items()))
        say(f"{side}: {counts}; {found.operations} operations, {least} to {most} {what}")
    j = r.joined
    say(f"the whole: {j.row_blocks} row blocks, {j.tokens} tokens routed, {j.executed} executed, {j.tiles} row tiles")


def _show_router(r: "RouterRun", overlay: "Overlay") -> None:
    say(f"router of {r.overlay}: row blocks of {overlay.dataflow.row_block}, {overlay.npe.route_stages} stages")
    say(f"{r.tokens} tokens in {r.operations} operations: {r.executed} decisions execute, {r.ties} ties, {r.nans} NaN")
    say(f"{r.reads} lookups of row lists, row masks and bitmask compared")


SHOW: dict[str, Callable[[Any, "Overlay"], None]] = {
    "pe_array": _show_pe_array, "npe": _show_npe, "router": _show_router, "dma": _show_dma,
    "kv_buffer": _show_kv_buffer, "kv_append": _show_kv_append, "ddr": _show_ddr,
}  # fmt: skip
