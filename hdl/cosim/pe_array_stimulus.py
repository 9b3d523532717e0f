"""Random work for the PE array: operations on every kind of tile, with every kind of FP16 number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skipopu.hdl.cosim.pe_array_numbers import Halves, numbers
from skipopu.hdl.cosim.pe_array_tiles import Tiles, constant_tiles, key_tiles, value_tiles, weight_tiles
from skipopu.spec.ker_shape import LOGITS, KerShape, ker_shape
from skipopu.spec.overlay import Overlay
from skipopu.spec.tile_source import TileSource

MOST_TILES = 24  # of an operation
ROWS = ((0.6, 4), (0.3, 16), (0.1, 64))  # share of the operations, rows at most
KINDS = {"weights": 0.4, "keys": 0.2, "values": 0.2, "constants": 0.15, "nothing": 0.05}  # share of the tiles


@dataclass(frozen=True)
class Operation:
    """A matrix operation and its data; column blocks of all rounds, B, one after the other."""

    kind: str
    rows: int
    depth: int
    blocks: int  # of a round
    turns: int
    slots: int
    tiles: Tiles
    activations: Halves  # [B, depth, rows, dot_length]
    second: Halves  # the same for the columns of a second head; that of the others where there is none

    @property
    def source(self) -> TileSource:
        """Where the tiles come from."""
        return {
            "weights": TileSource.WEIGHT, "keys": TileSource.KV, "values": TileSource.KV,
            "constants": TileSource.CONSTANT, "nothing": TileSource.NO_TILE,
        }[self.kind]  # fmt: skip

    @property
    def all_blocks(self) -> int:
        """Column blocks of all rounds."""
        return self.blocks * self.tiles.rounds

    @property
    def block_entries(self) -> int:
        """Entries in which a column block leaves."""
        return 0 if self.kind == "nothing" else self.turns * self.rows * self.slots


class Stimulus:
    """Draws operations of ``overlay``."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator) -> None:
        self._overlay, self._rng = overlay, rng
        self._shape: KerShape = ker_shape(overlay)

    def operations(self, tiles: int) -> list[Operation]:
        """Return random operations of at least ``tiles`` tiles together, of every kind its share."""
        found: list[Operation] = []
        counts = dict.fromkeys(KINDS, 0)
        while sum(counts.values()) < tiles or not all(counts.values()):
            kind = min(KINDS, key=lambda each: counts[each] / KINDS[each])
            found.append(getattr(self, f"_{kind}")())
            counts[kind] += tile_count(found[-1:])
        return [found[k] for k in self._rng.permutation(len(found))]

    def _weights(self) -> Operation:
        depth = self._upto(MOST_TILES // 2)
        blocks = self._upto(MOST_TILES // depth)
        int4 = bool(self._rng.integers(2))
        return self._operation("weights", depth, blocks, weight_tiles(self._shape, blocks, depth, int4, self._rng))

    def _keys(self) -> Operation:
        """A round's vectors are whole chunks."""
        depth, rounds = self._upto(4), self._upto(5)
        blocks = self._upto(2) * self._shape.key_segments
        return self._operation("keys", depth, blocks, key_tiles(self._shape, rounds, blocks, depth, self._rng))

    def _values(self) -> Operation:
        shape = self._shape
        chunks = self._upto(max(shape.columns // shape.chunk, 1))
        width, entries = chunks * shape.value_part, self._overlay.psum.entries
        turns = self._upto(min(3, entries // shape.value_segments)) * shape.value_segments
        room = entries // turns  # for the slots of a row
        rounds = self._upto(min(8, room) if room < self._overlay.psum.interleave else 8)
        tiles = value_tiles(shape, rounds, turns, width, self._rng)
        return self._operation("values", rounds * turns, 1, tiles, turns)

    def _constants(self) -> Operation:
        logits = int(self._rng.choice([n for n in LOGITS if n <= self._shape.columns]))
        depth = self._upto(8)
        return self._operation("constants", depth, 1, constant_tiles(self._shape, depth, logits, self._rng))

    def _nothing(self) -> Operation:
        depth = self._upto(6)
        return self._operation("nothing", depth, 1, weight_tiles(self._shape, 1, depth, False, self._rng))

    def _operation(self, kind: str, depth: int, blocks: int, tiles: Tiles, turns: int = 1) -> Operation:
        psum, rng = self._overlay.psum, self._rng
        slots = min(depth // turns, psum.interleave)
        most = int(rng.choice([rows for _, rows in ROWS], p=[share for share, _ in ROWS]))
        rows = self._upto(min(most, psum.entries // (turns * slots)))
        activations = self._activations(kind, depth, rows, blocks * tiles.rounds)
        second = self._activations(kind, depth, rows, len(activations)) if kind == "keys" else activations
        packed = kind == "keys" and self._shape.heads > 1
        return Operation(kind, rows, depth, blocks, turns, slots, tiles, activations, second if packed else activations)

    def _activations(self, kind: str, depth: int, rows: int, blocks: int) -> Halves:
        """Every column block has the same rows, but of keys: each is another head."""
        own = blocks if kind == "keys" else 1
        found = numbers((own, depth, rows, self._shape.dot_length), self._rng)
        return np.broadcast_to(found, (blocks, *found.shape[1:]))

    def _upto(self, most: int) -> int:
        return int(self._rng.integers(1, 1 + most))


def tile_count(operations: Sequence[Operation]) -> int:
    """Weight tiles of all operations."""
    return sum(o.all_blocks * o.depth for o in operations)
