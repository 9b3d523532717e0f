"""Rows of the residual stream come into a block: embeddings of new tokens, or what is left of earlier blocks."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from skipopu.program.block import Block
from skipopu.program.blocking import Places
from skipopu.program.emitter import CHOSEN, OUTSIDE, Emitter

Move = tuple[int, int]  # row of the earlier block, row of the new one


def prefill_places(e: Emitter, what: str) -> Places:
    """Return an empty layout of the global buffer for ``what`` of a prefill."""
    return Places(e.c.overlay, f"prefill {what} of {e.c.trace.tokens} tokens")


class Gathering:
    """Knows in which block of a step each token's row of X lies."""

    def __init__(self, e: Emitter, *, chosen: bool = False) -> None:
        self._e = e
        self._source = CHOSEN if chosen else "prompt"  # embeddings that are there, or follow from earlier results
        self._home: dict[int, tuple[Block, int]] = {}  # token → block, row of it

    def bring(self, block: Block) -> None:
        """Emit what puts the rows of ``block`` into X; the host has written the embeddings of all its tokens."""
        e, tokens = self._e, self._e.c.passes.tokens[block.first : block.first + block.rows].tolist()
        e.enter(block, OUTSIDE)
        moves = list(self._moves(tokens))
        if not all(token in self._home for token in tokens):
            self._embed(block)
        elif not self._aligned:
            self._places(block, 0)
        for source, rows in moves:
            self._move(source, rows, block)
        if moves and not self._aligned:
            self._store(block)
        self._home |= {token: (block, row) for row, token in enumerate(tokens)}

    def runs(self, tokens: Iterable[int]) -> Iterator[tuple[Block, int, int]]:
        """Yield (block, first row, rows) of neighbouring rows in which ``tokens`` lie."""
        homes = enumerate(self._home[token] for token in tokens)
        for (block, _), run in groupby(homes, key=lambda home: (home[1][0], home[1][1] - home[0])):
            own = [row for _, (_, row) in run]
            yield block, own[0], len(own)

    @property
    def _aligned(self) -> bool:
        """A row tile fills words of DDR4, and so can be written by itself."""
        return self._e.c.memory.strides.last == self._e.c.overlay.tile_bytes

    def _places(self, block: Block, rows: int) -> None:
        t = self._e.c.tiles
        self._e.places = prefill_places(self._e, "rows that stay").add("stay", block.rows * t.x).add("x", rows * t.x)

    def _embed(self, block: Block) -> None:
        self._places(block, 0)
        e, at = self._e, block.first * self._e.c.memory.strides.row
        e.load(self._source, at, "stay", e.places["stay"], block.rows, e.c.tiles.x)
        self._store(block)

    def _store(self, block: Block) -> None:
        e = self._e
        at = block.first * e.c.memory.strides.row
        e.store("x", at, "stay", e.places["stay"], block.rows, e.c.tiles.x)

    def _moves(self, tokens: list[int]) -> Iterator[tuple[Block, list[Move]]]:
        """Rows that move, by the block that they come from."""
        known = [(*self._home[token], row) for row, token in enumerate(tokens) if token in self._home]
        for source, moves in groupby(known, key=lambda move: move[0]):
            yield source, [(old, new) for _, old, new in moves]

    def _move(self, source: Block, moves: list[Move], block: Block) -> None:
        """A row's tiles lie a block apart; each is a transfer of its own."""
        e, strides = self._e, self._e.c.memory.strides
        self._places(block, source.rows)
        e.load(("x", source.first), source.first * strides.row, "x", e.places["x"], source.rows, e.c.tiles.x)
        for old, new in moves:
            for tile in range(e.c.tiles.x):
                self._move_tile(tile, e.places["x"] + tile * source.rows + old, tile * block.rows + new, block)

    def _move_tile(self, tile: int, source: int, target: int, block: Block) -> None:
        """To its place in X; narrower than a word of DDR4, by way of one, into the block that is put together."""
        e, strides = self._e, self._e.c.memory.strides
        if self._aligned:
            e.store("x", block.first * strides.row + target * e.c.overlay.tile_bytes, "x", source, 1, 1)
            return
        e.store("last", tile * strides.last, "x", source, 1, 1)
        e.load("last", tile * strides.last, "stay", e.places["stay"] + target, 1, 1)
