"""Sizes of KV append: how row tiles become chunks, and pieces of vectors bursts."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Mux, Value
from amaranth.lib import data

from skipopu.hdl.dma_control import in_chunks
from skipopu.hdl.kv_layout import KvShape, index, kv_shape
from skipopu.program.isa import WIDTH
from skipopu.spec.overlay import Overlay

TILES_BITS = WIDTH["k_tiles"]  # row tiles of a vector


@dataclass(frozen=True)
class AppendShape:
    """Sizes of KV append of an overlay. A word is a row tile or a chunk, whichever is larger."""

    kv: KvShape
    tile_bytes: int
    chunk_tiles: int  # row tiles of a word
    tile_chunks: int  # chunks of a word
    words: int  # that wait to be written
    read_stages: int  # of the global buffer
    tiles: int  # of the global buffer
    packed: bool  # K of two heads is read side by side

    @property
    def word_bits(self) -> int:
        """Width of a word."""
        return self.tile_bytes * self.chunk_tiles * 8

    @property
    def burst_tiles(self) -> int:
        """Row tiles of a burst; 0: a tile is longer than a burst."""
        return self.kv.burst_chunks * self.kv.chunk_bytes // self.tile_bytes


def append_shape(overlay: Overlay) -> AppendShape:
    """Sizes for ``overlay``; SpecError for the interleaved map, which the RTL does not have."""
    tile, chunk = overlay.tile_bytes, overlay.chunk_bytes
    return AppendShape(
        kv=kv_shape(overlay), tile_bytes=tile, chunk_tiles=max(chunk // tile, 1), tile_chunks=max(tile // chunk, 1),
        words=overlay.append_words, read_stages=overlay.global_buffer.read_stages, tiles=overlay.global_buffer.tiles,
        packed=overlay.dataflow.packed_heads == 2,
    )  # fmt: skip


def piece_tiles(shape: AppendShape, head: Any) -> Value:
    """Row tiles of a vector that are appended together: a burst, or a pair of heads, or a tile if that is longer."""
    pair: Value = head.columns[: TILES_BITS - 1] << 1
    shorter = Mux(pair < shape.burst_tiles, pair, shape.burst_tiles)
    return shorter if shape.burst_tiles else Value.cast(1)


def whole_chunks(shape: AppendShape, tiles: Value) -> Value:
    """Whole chunks: pieces and vectors are."""
    return tiles * shape.tile_chunks if shape.tile_chunks > 1 else tiles // shape.chunk_tiles


def chunk_address(shape: AppendShape, head: Any) -> Value:
    """The layer's first vector."""
    return in_chunks(head.address, shape.kv.chunk_bytes)[: shape.kv.address_bits]


def place_layout(shape: AppendShape) -> data.StructLayout:
    """Place of a token in a layer: its HBM port, and how many chunks behind the layer's first vector it lies."""
    return data.StructLayout({"port": index(shape.kv.ports), "offset": shape.kv.address_bits})
