"""Bits of the memories of a block, from the overlay's parameters; what the Verilog must hold."""

from dataclasses import dataclass

from skipopu.spec.npe import word_columns
from skipopu.spec.overlay import (
    AXI3_BURST_BEATS,
    DDR_BEAT_BYTES,
    DDR_CHANNELS,
    FP16_BYTES,
    FP32_BYTES,
    STORE_BEATS,
    Overlay,
)

BITS = 8
HALVES = 2  # of the bitmask: even and odd rows; banks, gates, mask registers of the NPE


@dataclass(frozen=True)
class Memories:
    """Bits a kind of memory takes in the whole block."""

    invariance_buffer: int
    chunk_fifos: int  # weights and K/V, of all ports
    write_data: int  # of all ports; a chunk and whether it is its burst's last
    bitmask: int


def memories(overlay: Overlay) -> Memories:
    """Return them for ``overlay``; FIFOs between the clocks are powers of two deep."""
    dma, chunk = overlay.dma, BITS * overlay.chunk_bytes
    banks, ratio = overlay.buffer_ports, overlay.clock.hbm_ratio
    bank_chunks = overlay.kv_buffer.capacity_bytes // banks // overlay.chunk_bytes if banks else 0
    fifos = _power_of_two(dma.weight_chunks) + _power_of_two(dma.kv_chunks)
    rows, tokens = overlay.bitmask.rows, overlay.bitmask.tokens
    return Memories(
        invariance_buffer=banks * bank_chunks * chunk,
        chunk_fifos=dma.hbm_ports * fifos * chunk,
        write_data=dma.hbm_ports * dma.write_bursts * (AXI3_BURST_BEATS // ratio) * (chunk + 1),
        bitmask=HALVES * -(-rows // HALVES) * _power_of_two(tokens),
    )


@dataclass(frozen=True)
class NpeMemories:
    """Bits a kind of memory takes in the NPE."""

    rotary_buffer: int
    row_statistics: int  # maxima and sums of scores in two banks, sums of rows, inverses
    row_lists: int  # of two gates and two mask registers: row numbers and bits


def npe_memories(overlay: Overlay) -> NpeMemories:
    """Return them for ``overlay``; maxima are FP16, sums FP32."""
    npe, rows = overlay.npe, _power_of_two(overlay.dataflow.row_block)
    fp16, fp32 = BITS * FP16_BYTES, BITS * FP32_BYTES
    of_rows = 2 * fp32 * (2 if npe.layer_norm else 1)  # Σx² and inverse; Σx and mean
    return NpeMemories(
        rotary_buffer=BITS * npe.rotary_bytes,
        row_statistics=npe.statistics_rows * (HALVES * (fp16 + fp32) + of_rows),
        row_lists=HALVES * HALVES * rows * (rows.bit_length() - 1 + 1),
    )


@dataclass(frozen=True)
class BufferMemories:
    """Bits a kind of memory takes beside memory system and NPE; ports for which a memory is copied are not counted."""

    global_buffer: int
    constants: int  # both halves, once for every reader
    read_beats: int  # that have come from DDR4
    write_beats: int  # that go there
    partial_sums: int
    row_tiles: int  # in IFM


def buffer_memories(overlay: Overlay) -> BufferMemories:
    """Return them for ``overlay``."""
    beat, pe = BITS * DDR_BEAT_BYTES, overlay.pe_array
    entry = pe.columns * BITS * {"fp32": FP32_BYTES, "fp16": FP16_BYTES}[overlay.psum.format]
    return BufferMemories(
        global_buffer=BITS * overlay.global_buffer.tiles * overlay.tile_bytes,
        constants=BITS * sum(_both_halves(overlay, width) for width in constant_readers(overlay).values()),
        read_beats=DDR_CHANNELS * overlay.dma.ddr_beats * beat,
        write_beats=DDR_CHANNELS * STORE_BEATS * beat,
        partial_sums=HALVES * overlay.psum.entries * entry,
        row_tiles=BITS * overlay.ifm.rows * overlay.dataflow.packed_heads * overlay.tile_bytes,
    )


def constant_readers(overlay: Overlay) -> dict[str, int]:
    """Return who reads the constants, each from a copy of its own, and how many bytes a cycle."""
    word, tile = word_columns(overlay.pe_array.columns, overlay.npe.lanes) * FP16_BYTES, overlay.tile_bytes
    norm = {"gamma": tile, "beta": tile} if overlay.npe.layer_norm else {"gamma": tile}
    return {"scale": word, "bias": word, **norm, "router": overlay.ker.constant_bytes_per_cycle}


def _both_halves(overlay: Overlay, read_bytes: int) -> int:
    """Bytes of a copy: rows as wide as the wider of read and write, a power of two of them in a half."""
    row = max(read_bytes, DDR_CHANNELS * DDR_BEAT_BYTES)
    rows = -(-overlay.constants.half_bytes // row)
    return HALVES * row * (1 << (rows - 1).bit_length())


def _power_of_two(words: int) -> int:
    return 1 << max(words - 1, 1).bit_length()
