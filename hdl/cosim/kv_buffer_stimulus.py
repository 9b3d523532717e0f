"""Random work for the KV buffer: sequences of tokens, and the passes over their layers that read K and V."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.kv_layout import KvShape, kv_shape
from skipopu.numerics.kv_rounds import place
from skipopu.numerics.kv_schedule import Limits, Placement
from skipopu.spec.overlay import Overlay

POLICIES, SHARES = ("reuse_last", "evict", "dense"), (0.8, 0.1, 0.1)
SKIP_RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
PERSISTENCE = (0.0, 0.5, 0.9)  # how often a token decides as in the layer before
TOKENS = (4, 16, 32, 64, 160)  # at most; each for a fifth of the sequences
FILLS = (0.5, 1.0, 1.5, 3.0)  # tokens for each that the buffer holds
VECTORS = (1, 2, 2, 3, 3, 4, 5, 9, 17)  # chunks of a vector
WORK = 300  # chunks of K of a port, in all layers, at most: no sequence outweighs the others
PASSES = 3  # of a sequence, at most
PREFILL, EXECUTED = 0.2, 0.8  # share of the passes; of a pass's layers
PERIOD = 4  # the buffer can be full in all sequences but every fourth, which is anyhow


@dataclass(frozen=True)
class Operation:
    """KV_READ."""

    executed: bool
    decode: bool
    value: bool
    layer: int
    tokens: int
    offset: int  # chunks
    chunks: int


@dataclass(frozen=True)
class Sequence:
    """The tokens of a sequence, where their K and V lie, and what is read of them. Addresses are in chunks."""

    bits: NDArray[np.bool_]  # [layer, token]: executed
    reuse: bool
    vector: int
    bank_slots: int
    base: int
    slots: int  # vectors of a layer's K, or V, in a port
    operations: tuple[Operation, ...]

    @property
    def layers(self) -> int:
        """Rows of the bitmask in use."""
        return len(self.bits)

    @property
    def value_offset(self) -> int:
        """From a K vector to its V vector."""
        return self.slots * self.vector

    def layer_base(self, layer: int) -> int:
        """The layer's K vector in slot 0."""
        return self.base + 2 * layer * self.value_offset

    def placement(self, ports: int) -> Placement:
        """Which layer's K/V each token uses, and where they are."""
        own = np.arange(self.layers)[:, None]
        executed = np.where(self.bits, own, -1)
        sources = np.maximum.accumulate(executed, axis=0) if self.reuse else executed
        return place(sources.astype(np.int16), ports)

    def limits(self, overlay: Overlay) -> Limits:
        """What bounds its rounds."""
        b, shape = overlay.kv_buffer, kv_shape(overlay)
        capacity = self.bank_slots * shape.banks
        lock_step = b.invalid_rounds == "lock_step"
        return Limits(shape.ports, shape.round_tokens, shape.banks, capacity, b.queue_depth, lock_step, False)


def sequences(overlay: Overlay, rng: np.random.Generator) -> Iterator[Sequence]:
    """Random sequences without end."""
    shape = kv_shape(overlay)
    for number in count():
        yield _sequence(shape, rng, can_keep(shape) and number % PERIOD != PERIOD - 1)


def can_keep(shape: KvShape) -> bool:
    """There are a bank that holds a token, and a layer that finds it there."""
    return shape.banks > 0 and shape.bank_chunks > 1 and shape.rows > 1


def _sequence(shape: KvShape, rng: np.random.Generator, keeps: bool) -> Sequence:
    """``keeps``: the buffer holds some tokens, about as many as there are, and the next layer reuses them."""
    layers = int(rng.integers(max(2, shape.rows // 2) if keeps else 1, shape.rows + 1))
    vector = int(rng.choice([v for v in VECTORS if not keeps or 2 * v <= shape.bank_chunks]))
    policy = POLICIES[0] if keeps else str(rng.choice(POLICIES, p=SHARES))
    most = shape.bank_chunks // (2 * vector)
    bank_slots = int(np.clip(rng.choice([most, most, most // 2, most // 4, 2, 1, 0]), int(keeps), most))
    tokens = _tokens(shape, layers * vector, bank_slots * shape.banks if keeps else 0, rng)
    slots = math.ceil(tokens / shape.ports) + int(rng.integers(3))
    base = int(rng.integers((1 << PORT_ADDRESS_BITS) // shape.chunk_bytes - 2 * layers * slots * vector))
    bits = _bits(policy, layers, tokens, rng)
    work = tuple(_operations(layers, tokens, vector, bank_slots * shape.banks == 0, rng))
    return Sequence(bits, policy != "evict", vector, bank_slots, base, slots, work)


def _tokens(shape: KvShape, chunks: int, capacity: int, rng: np.random.Generator) -> int:
    """Tokens of a sequence; ``chunks`` of K each in all layers. ``capacity``: what they shall fill, more or less."""
    least = min(TOKENS)
    most = min(shape.tokens, max(least, WORK * shape.ports // chunks))
    if capacity:
        return min(most, least + int(rng.choice(FILLS) * capacity))
    return int(rng.integers(1, 1 + min(rng.choice(TOKENS), most)))


def _bits(policy: str, layers: int, tokens: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Layer 0 executes mostly; a token that did not is not visible until it does."""
    if policy == "dense":
        return np.ones((layers, tokens), np.bool_)
    bits: NDArray[np.bool_] = rng.random((layers, tokens)) >= rng.choice(SKIP_RATES)
    persists = rng.random((layers, tokens)) < rng.choice(PERSISTENCE)
    for layer in range(2, layers):
        bits[layer] = np.where(persists[layer], bits[layer - 1], bits[layer])
    bits[0] |= rng.random(tokens) < rng.choice([1.0, 0.7])
    return bits


def _operations(layers: int, tokens: int, vector: int, parts: bool, rng: np.random.Generator) -> Iterator[Operation]:
    """Passes over all layers; K then V. Where no buffer is, and in prefill, a vector may be read in parts."""
    for _ in range(int(rng.integers(1, 1 + PASSES))):
        decode = bool(rng.random() >= PREFILL)
        seen = tokens if rng.random() < 0.5 else int(rng.integers(1, 1 + tokens))
        executing = rng.choice([EXECUTED, 1.0, 1.0])
        for layer in range(layers):
            executed = bool(rng.random() < executing)
            for offset, chunks in _parts(vector, parts or not decode, rng):
                for value in (False, True):
                    yield Operation(executed, decode, value, layer, seen, offset, chunks)


def _parts(vector: int, several: bool, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Offset and chunks of each part."""
    if not several or vector == 1 or rng.random() < 0.5:
        return [(0, vector)]
    cut = int(rng.integers(1, vector))
    return [(0, cut), (cut, vector - cut)]
