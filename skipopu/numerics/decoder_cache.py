"""K/V of a sequence: vectors, which layer's each token uses, and the rounds in which a layer's come."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import limits_of, schedule
from skipopu.numerics.kv_schedule import BUFFER, Placement, commit, new_schedule
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import FP16_BYTES, Overlay

Bits = NDArray[np.uint16]
Ints = NDArray[np.int64]


class Rounds(NamedTuple):
    """Tokens in the order of the K/V rounds: ``places[n]`` of ``tokens[n]`` is round · width + column."""

    tokens: Ints
    places: Ints
    rounds: int
    width: int  # columns of the array, or places of a dot product, that a round has for keys of a head


class KvCache:
    """Entries [layers, tokens, heads, stored head], FP16 bits.

    With ``reuse`` a token that skips a layer keeps the entry of the layer below; otherwise it has none there.
    """

    def __init__(self, overlay: Overlay, shape: ModelShape, tokens: int, *, reuse: bool) -> None:
        d, self._reuse = shape.dimensions, reuse
        self.stored = overlay.head_storage(d.head_dim)
        entries = (d.layers, tokens, d.kv_heads, self.stored)
        self.keys, self.values = np.zeros(entries, np.uint16), np.zeros(entries, np.uint16)
        table = (d.layers, tokens)
        self.place = Placement(
            np.full(table, -1, np.int16), np.zeros(table, np.int16), np.zeros(table, np.int32),
            np.ones((1, tokens), np.bool_),
        )  # fmt: skip
        self._limits = limits_of(overlay, 2 * d.kv_heads * self.stored * FP16_BYTES)
        self._schedule = new_schedule(tokens, self._limits)
        self._ports = 1 if self._limits.spread else self._limits.ports
        self._appended = np.zeros(d.layers, np.int64)  # tokens of a layer's own
        self._usable = False
        self.width = min(overlay.pe_array.columns // 2, overlay.pe_array.dot_length)

    def append(self, layer: int, tokens: Ints, own: NDArray[np.bool_], keys: Bits, values: Bits) -> None:
        """Store ``keys`` and ``values`` [executed, heads, head_dim] of the ``tokens`` with ``own`` set.

        They go round-robin over the ports.
        """
        source, port, slot, _ = self.place
        if layer and self._reuse:
            for table in (source, port, slot):
                table[layer, tokens] = table[layer - 1, tokens]
        rows = tokens[own]
        order = self._appended[layer] + np.arange(len(rows))
        source[layer, rows], port[layer, rows], slot[layer, rows] = layer, order % self._ports, order // self._ports
        self._appended[layer] += len(rows)
        self.keys[layer, rows, :, : keys.shape[2]] = keys
        self.values[layer, rows, :, : values.shape[2]] = values

    def read(self, layer: int, tokens: Ints) -> tuple[Bits, Bits]:
        """Return K and V [tokens, heads, stored head] as ``layer`` sees them."""
        source = self.place.source[layer, tokens]
        return self.keys[source, tokens], self.values[source, tokens]

    def leave(self) -> None:
        """A layer without an executed query reads nothing: the invariance buffer is invalid from here on."""
        self._usable = False

    def rounds(self, layer: int, seen: int, *, decode: bool) -> Rounds:
        """Return the rounds in which ``layer`` reads tokens [0, seen), and leave the buffer as its V leaves it."""
        c, usable = self._schedule, self._usable and decode and layer > 0
        count = schedule(self._limits, self.place, layer, seen, usable, decode, c)
        if decode:
            commit(c)
        self._usable = decode and self._limits.capacity > 0
        entries = c.s.entries
        sizes = np.diff(c.first[: count + 1])
        number = np.repeat(np.arange(count), sizes)
        column = self._columns(number, c.port[:entries], c.read[:entries])
        return Rounds(c.token[:entries].astype(np.int64), number * self.width + column, count, self.width)

    def _columns(self, number: Ints, port: NDArray[np.int16], read: NDArray[np.int32]) -> Ints:
        """Column of each entry: its lane, HBM ports first, then banks; its rank where there are more lanes."""
        banks = max(self._limits.buffer_ports, 1)
        lane = np.where(port == BUFFER, self._limits.ports + read % banks, port).astype(np.int64)
        if not self._limits.spread and self._limits.ports + self._limits.buffer_ports <= self.width:
            return lane
        order = np.lexsort((lane, number))
        rank = np.empty(len(lane), np.int64)
        rank[order] = np.arange(len(lane)) - np.searchsorted(number, number[order])
        return rank
