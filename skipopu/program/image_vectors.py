"""Vectors in DDR4: constants blocks, rotary records, rows of embeddings."""

import numpy as np
from numpy.typing import NDArray

from skipopu.program.constants import ConstantBlock, Piece
from skipopu.program.context import Context
from skipopu.program.ddr_map import rotary_word
from skipopu.program.image_matrices import matrix_of
from skipopu.program.image_memory import Bytes, StripedMemory
from skipopu.program.parameters import Bits, LayerParameters, ModelParameters, Norm, RouterWeights
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import DDR_BEAT_BYTES, FP16_BYTES


def to_bytes(numbers: NDArray[np.uint16]) -> Bytes:
    """Return FP16 bits as they lie in memory."""
    return np.ascontiguousarray(numbers).astype("<u2").reshape(-1).view(np.uint8)


def tiled(rows: Bits, dot: int) -> Bits:
    """Return ``rows`` [n, K] as [tiles, n, dot], padded with zeros."""
    tiles = -(-rows.shape[1] // dot)
    padded = np.pad(rows, ((0, 0), (0, tiles * dot - rows.shape[1])))
    return np.ascontiguousarray(padded.reshape(len(rows), tiles, dot).transpose(1, 0, 2))


def write_constants(ddr: StripedMemory, c: Context, parameters: ModelParameters) -> None:
    """All blocks of the memory map."""
    for (layer, _), blocks in c.memory.constants.items():
        for block in blocks:
            ddr.write(c.memory.ddr["constants"] + block.address, to_bytes(_block(block, c, parameters, layer)))


def _block(block: ConstantBlock, c: Context, parameters: ModelParameters, layer: int) -> Bits:
    found = np.zeros(block.words * DDR_BEAT_BYTES // FP16_BYTES, np.uint16)
    for piece in block.pieces:
        numbers = _piece(piece, c, parameters, layer)
        found[piece.at : piece.at + len(numbers)] = numbers
    return found


def _piece(piece: Piece, c: Context, parameters: ModelParameters, layer: int) -> Bits:
    if piece.kind in ("gamma", "beta"):
        return _gain(_norm(parameters, layer, piece.name), piece.kind)
    dot = c.overlay.pe_array.dot_length
    if piece.kind == "router":
        columns = [_router(parameters.layers[layer], module, layer).last for module in piece.name.split("+")]
        return tiled(np.concatenate(columns), dot).reshape(-1)
    matrix = matrix_of(parameters, c.overlay, layer, piece.name)
    numbers = matrix.scales if piece.kind == "scales" else matrix.bias
    assert numbers is not None
    return numbers[piece.first : piece.first + piece.columns]


def _norm(parameters: ModelParameters, layer: int, name: str) -> Norm:
    if name == "final":
        return parameters.final_norm
    numbers = parameters.layers[layer]
    return numbers.attention_norm if name == "attention" else numbers.ffn_norm


def _gain(norm: Norm, kind: str) -> Bits:
    if kind == "beta" and norm.beta is None:
        raise SpecError("LayerNorm without beta; valid: FP16 bits [D]")
    return norm.gamma if kind == "gamma" or norm.beta is None else norm.beta


def _router(numbers: LayerParameters, module: str, layer: int) -> RouterWeights:
    found = numbers.attention_router if module == "attention" else numbers.ffn_router
    if found is None:
        raise SpecError(f"layer {layer}: {module} has a router in the trace and none in the model's numbers")
    return found


def positions_of(c: Context) -> NDArray[np.int64]:
    """Return the position of every token: its number, unless the trace has positions."""
    found = c.trace.array("positions")
    return np.arange(c.trace.tokens) if found is None else found.astype(np.int64)


def write_rotary(ddr: StripedMemory, c: Context, parameters: ModelParameters) -> None:
    """A record a token: words for as many lanes as a word of results, cosines of its pairs, then sines."""
    if parameters.cosines is None or parameters.sines is None:
        return
    head, pairs = c.overlay.head_storage(c.shape.dimensions.head_dim), rotary_word(c.overlay) // FP16_BYTES // 2
    words = -(-head // (2 * pairs))
    stride = c.memory.strides.rotary
    for slot, position in enumerate(positions_of(c)[c.passes.tokens].tolist()):
        angles = np.zeros((2, words * pairs), np.uint16)
        for row, table in zip(angles, (parameters.cosines, parameters.sines), strict=True):
            row[: table.shape[1]] = table[position]
        record = angles.reshape(2, words, pairs).transpose(1, 0, 2)
        ddr.write(c.memory.ddr["rotary"] + slot * stride, to_bytes(record))


def token_rows(c: Context, parameters: ModelParameters) -> Bits:
    """Return what every token of the sequence brings into the first layer, [tokens, D]."""
    ids = c.trace.token_ids
    rows = parameters.embedding[np.zeros(c.trace.tokens, np.int64) if ids is None else ids]
    if parameters.positions is None:
        return rows
    total = rows.view(np.float16) + parameters.positions[positions_of(c)].view(np.float16)
    return total.view(np.uint16)


def write_rows(ddr: StripedMemory, c: Context, parameters: ModelParameters) -> None:
    """The embedding table, or with learned positions the sum for every token; prefill's rows block by block."""
    dot, stride, regions = c.overlay.pe_array.dot_length, c.memory.strides.row, c.memory.ddr
    rows = token_rows(c, parameters)
    for number, row in enumerate(parameters.embedding if parameters.positions is None else rows):
        ddr.write(regions["embedding"] + number * stride, to_bytes(tiled(row[None], dot)))
    passes = c.passes
    for first, count, decode in zip(passes.first.tolist(), passes.rows.tolist(), passes.decode.tolist(), strict=True):
        if not decode:
            own = rows[passes.tokens[first : first + count]]
            ddr.write(regions["prompt"] + first * stride, to_bytes(tiled(own, dot)))
