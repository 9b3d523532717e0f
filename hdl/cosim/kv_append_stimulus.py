"""Random work for KV append: programs that append blocks of tokens, layer by layer, K then V."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.kv_append_layout import AppendShape
from skipopu.program.isa import ADDRESS_UNIT, Gate

HEADS = (1, 1, 2, 3, 5)  # units of a head: of whole row tiles and chunks
PAIRS = (1, 1, 2, 3)
RATES = (0.0, 0.2, 0.7, 1.0)  # of rows that execute where there is a gate
BLOCKS, LAYERS = 4, 4  # of a program, at most


@dataclass(frozen=True)
class Append:
    """APPEND_KV."""

    layer: int
    value: bool
    gate: int
    mask: int
    first: int  # token of the block
    bits: NDArray[np.bool_]  # [row]: the row's attention bit
    source: int  # global buffer tile

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Rows of the block that execute."""
        return self.bits | (self.gate == Gate.ALL)


@dataclass(frozen=True)
class Program:
    """Where K and V of its tokens lie, and what is appended. Addresses and sizes are in bytes."""

    pairs: int
    head_tiles: int
    vector: int
    base: int
    slots: int
    executed: NDArray[np.bool_]  # [layer, token]
    appends: tuple[Append, ...]

    @property
    def tiles(self) -> int:
        """Row tiles of a vector."""
        return 2 * self.pairs * self.head_tiles

    def address(self, layer: int, value: bool) -> int:
        """The layer's first K or V vector."""
        return self.base + (2 * layer + value) * self.slots * self.vector


def programs(shape: AppendShape, row_block: int, rng: np.random.Generator) -> Iterator[Program]:
    """Random programs without end."""
    while True:
        yield _program(shape, row_block, rng)


def _program(shape: AppendShape, row_block: int, rng: np.random.Generator) -> Program:
    unit = max(shape.chunk_tiles, 1)
    pairs, head = int(rng.choice(PAIRS)), unit * int(rng.choice(HEADS))
    tiles = 2 * pairs * head
    most = min(row_block, shape.tiles // tiles)
    layers = int(rng.integers(1, 1 + min(LAYERS, shape.kv.rows)))
    blocks = [int(rng.integers(1, 1 + most)) for _ in range(int(rng.integers(1, 1 + BLOCKS)))]
    while sum(blocks) > shape.kv.tokens:
        blocks.pop()
    vector = tiles * shape.tile_bytes
    slots = math.ceil(sum(blocks) / shape.kv.ports) + int(rng.integers(2))
    step = max(shape.kv.chunk_bytes, ADDRESS_UNIT)
    base = int(rng.integers(((1 << PORT_ADDRESS_BITS) - 2 * layers * slots * vector) // step)) * step
    appends = list(_appends(shape, blocks, layers, tiles, rng))
    executed = np.zeros((layers, sum(blocks)), np.bool_)
    for each in appends:
        executed[each.layer, each.first : each.first + len(each.bits)] = each.rows
    return Program(pairs, head, vector, base, slots, executed, tuple(appends))


def _appends(
    shape: AppendShape, blocks: list[int], layers: int, tiles: int, rng: np.random.Generator
) -> Iterator[Append]:
    """K and V of a block and layer have the same rows; they come from places of their own."""
    gated, first = rng.random() < 0.7, 0
    for block in blocks:
        for layer in range(layers):
            gate = int(rng.choice([Gate.ATTENTION, Gate.ATTENTION, Gate.ALL])) if gated else int(Gate.ALL)
            bits, mask = rng.random(block) < rng.choice(RATES), int(rng.integers(2))
            for value in (False, True):
                source = int(rng.integers(shape.tiles - tiles * block + 1))
                yield Append(layer, value, gate, mask, first, bits, source)
        first += block
