"""Weight matrices as they go through the PE array: columns and rows in their places, then the stream of an HBM port."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.program.image_memory import Bytes, SparseMemory
from skipopu.program.matrix_map import ColumnPart, Matrix
from skipopu.program.parameters import Linear, ModelParameters, Weights, gated_columns
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

TYPES = {"int4": np.int8, "fp16": np.uint16}


def matrix_of(parameters: ModelParameters, overlay: Overlay, layer: int, name: str) -> Linear:
    """Return matrix ``name`` of the memory map, its results, and heads among its inputs, padded to whole row tiles."""
    if layer < 0:
        return parameters.lm_head
    numbers, dot = parameters.layers[layer], overlay.pe_array.dot_length
    head = overlay.head_storage(parameters.shape.dimensions.head_dim)
    if name.startswith("router_"):
        return _padded(_hidden_router(parameters, layer, name), 1, dot)
    if name == "gate_up":
        assert numbers.gate is not None
        return _padded(gated_columns(numbers.gate, numbers.up), 1, 2 * dot)
    found: Linear = getattr(numbers, name)
    d = parameters.shape.dimensions
    if name in ("q", "k", "v"):
        return _padded(found, d.attention_heads if name == "q" else d.kv_heads, head)
    if name == "o":
        inputs: NDArray[Any] = found.weights.reshape(len(found.weights), d.attention_heads, -1)
        inputs = np.pad(inputs, ((0, 0), (0, 0), (0, head - d.head_dim)))
        found = Linear(inputs.reshape(len(inputs), -1), found.scales, found.bias)
    return _padded(found, 1, dot)


def _hidden_router(parameters: ModelParameters, layer: int, name: str) -> Linear:
    """First layer of a router, without scales; a module that always runs has room for one and no numbers."""
    numbers = parameters.layers[layer]
    router = numbers.attention_router if name == "router_attention" else numbers.ffn_router
    hidden = None if router is None else router.hidden
    if hidden is None:
        hidden = np.zeros((1, parameters.shape.dimensions.hidden_size), np.uint16)
    return Linear(hidden, np.zeros(len(hidden), np.uint16))


def _padded(matrix: Linear, groups: int, unit: int) -> Linear:
    """Zero columns behind those of each of ``groups``, up to a multiple of ``unit``."""

    def longer(rows: NDArray[Any]) -> NDArray[Any]:
        parts = rows.reshape(groups, -1, *rows.shape[1:])
        missing = [(0, 0), (0, -parts.shape[1] % unit)] + [(0, 0)] * (rows.ndim - 1)
        return np.pad(parts, missing).reshape(-1, *rows.shape[1:])

    bias = None if matrix.bias is None else longer(matrix.bias)
    return Linear(longer(matrix.weights), longer(matrix.scales), bias)


def write_matrix(hbm: tuple[SparseMemory, ...], matrix: Matrix, numbers: Linear, overlay: Overlay) -> None:
    """Put every part's stream into the ports."""
    if numbers.weights.dtype != TYPES[matrix.datatype]:
        raise SpecError(
            f"weights {numbers.weights.dtype}; overlay {overlay.name} holds {matrix.datatype}:"
            f" {np.dtype(TYPES[matrix.datatype])}"
        )
    for part in matrix.parts:
        weights = numbers.weights[part.first : part.first + part.columns]
        _write_part(hbm, part, stream_bytes(weights, matrix.k_tiles, overlay), overlay)


def _write_part(hbm: tuple[SparseMemory, ...], part: ColumnPart, stream: Bytes, overlay: Overlay) -> None:
    """A word of the stream is a chunk of every port, that of port 0 first."""
    words = np.zeros((part.chunk_sets, len(hbm), overlay.chunk_bytes), np.uint8)
    words.reshape(-1)[: len(stream)] = stream
    for number, port in enumerate(hbm):
        port.write(part.offset, words[:, number].reshape(-1))


def stream_bytes(weights: Weights, k_tiles: int, overlay: Overlay) -> Bytes:
    """Return ``weights`` [columns, K] as KER takes them.

    Column block by column block, K-tile by K-tile, in a tile column by column; the last tiles are padded with zeros.
    """
    width, dot = overlay.pe_array.columns, overlay.pe_array.dot_length
    blocks = -(-len(weights) // width)
    padded: NDArray[Any] = np.pad(weights, ((0, blocks * width - len(weights)), (0, k_tiles * dot - weights.shape[1])))
    tiles = padded.reshape(blocks, width, k_tiles, dot).transpose(0, 2, 1, 3).reshape(-1)
    return packed_int4(tiles) if tiles.dtype == np.int8 else tiles.astype("<u2").view(np.uint8)


def packed_int4(values: NDArray[np.int8]) -> Bytes:
    """Return two values a byte, the first in the low half."""
    nibbles = values.view(np.uint8) & np.uint8(0xF)
    return nibbles[0::2] | nibbles[1::2] << np.uint8(4)
