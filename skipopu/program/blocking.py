"""How much work fits on chip at once: the row block of prefill and the places of the global buffer."""

import math
from dataclasses import dataclass

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay


@dataclass(frozen=True)
class RowTiles:
    """Row tiles a token takes in the global buffer, by tensor."""

    x: int
    q: int
    kv: int
    ffn: int
    head: int  # of one stored head
    router: int
    rank: int = 0  # between two factors of low-rank weights
    parts: int = 0  # beside X while experts or a stand-in run

    @classmethod
    def of(cls, shape: ModelShape, overlay: Overlay, router_hidden: int, rank: int = 0) -> "RowTiles":
        """Count tiles of ``pe_array.dot_length`` elements."""
        d, dot = shape.dimensions, overlay.pe_array.dot_length
        head = overlay.head_storage(d.head_dim) // dot
        return cls(
            math.ceil(d.hidden_size / dot), d.attention_heads * head, d.kv_heads * head,
            math.ceil(d.intermediate_size / dot), head, math.ceil(router_hidden / dot),
            math.ceil(rank / dot),
        )  # fmt: skip


class Places:
    """Assigns the global buffer: named places, back to back, from the first tile on."""

    def __init__(self, overlay: Overlay, what: str) -> None:
        self._tiles = overlay.global_buffer.tiles
        self._what = what
        self._ranges: dict[str, tuple[int, int]] = {}
        self._next = 0

    def add(self, name: str, tiles: int) -> "Places":
        """Reserve ``tiles``; raises SpecError when the buffer is full."""
        self._ranges[name] = (self._next, self._next + tiles)
        self._next += tiles
        if self._next > self._tiles:
            raise SpecError(
                f"{self._what}: beyond capacity, needs {self._next} row tiles of the global buffer"
                f" at {name!r}; global_buffer.tiles = {self._tiles}; shorten the sequence or enlarge"
                " global_buffer.tiles"
            )
        return self

    def part(self, name: str, of: str, first: int, tiles: int) -> None:
        """Name ``tiles`` of place ``of`` from its tile ``first`` on."""
        start = self[of] + first
        self._ranges[name] = (start, start + tiles)

    def share(self, name: str, number: int, count: int) -> str:
        """Return the name of one of ``count`` equal parts of a place, as a place of its own."""
        first, end = self._ranges[name]
        part, size = f"{name}.{number}", (end - first) // count
        self._ranges[part] = (first + number * size, first + (number + 1) * size)
        return part

    def __getitem__(self, name: str) -> int:
        """First tile of a place."""
        return self._ranges[name][0]

    def range(self, name: str) -> tuple[int, int] | None:
        """Tiles [first, end) of a place, None where ``name`` is no place."""
        return self._ranges.get(name)


def heads_of_pass(shape: ModelShape) -> int:
    """Query heads served by one packed pair of key/value heads."""
    return 2 * shape.queries_per_kv_head


def context_parts(shape: ModelShape, overlay: Overlay) -> int:
    """Parts in which a head's V goes through the PE array: its sums stand in PSUM side by side until the last round."""
    head = overlay.head_storage(shape.dimensions.head_dim)
    return head // overlay.value_columns(head)


def prefill_rows(shape: ModelShape, overlay: Overlay, tiles: RowTiles, rounds: int, rotary_stride: int) -> int:
    """Largest row block that PSUM, the NPE and the global buffer hold when attention takes ``rounds`` K/V rounds.

    ``rotary_stride``: bytes of a row in the ROT buffer. Raises SpecError when not even one row fits.
    """
    per_pass = heads_of_pass(shape)
    attention = 2 * per_pass * (2 * tiles.head + rounds)
    ffn = tiles.x + max(tiles.ffn, tiles.kv + max(tiles.kv, tiles.q), tiles.q, tiles.parts) + tiles.router + tiles.rank
    room = overlay.global_buffer.tiles
    limits = {
        "dataflow.row_block": overlay.dataflow.row_block,
        "npe.rotary_bytes": overlay.npe.rotary_bytes // rotary_stride,
        "npe.statistics_rows": overlay.npe.statistics_rows // per_pass,
        "psum.entries": overlay.psum.entries // (per_pass * context_parts(shape, overlay) * overlay.psum.interleave),
        "global_buffer.tiles": min(room // ffn, room // attention),
    }
    key = min(limits, key=lambda k: limits[k])
    if limits[key] < 1:
        raise SpecError(
            f"shape {shape.name}: beyond capacity, {key} does not hold one row of a prefill pass; enlarge it"
        )
    return limits[key]


def check_decode(shape: ModelShape, overlay: Overlay) -> None:
    """Check that PSUM and row statistics hold the query heads of one token; raises SpecError."""
    heads, parts = shape.dimensions.attention_heads, context_parts(shape, overlay)
    sums, factors = heads * parts * overlay.psum.interleave, f"{heads} heads × {parts} parts × psum.interleave"
    for key, room, need, what in (
        ("psum.entries", overlay.psum.entries, sums, factors),
        ("npe.statistics_rows", overlay.npe.statistics_rows, heads, f"{heads} heads"),
    ):
        if need > room:
            raise SpecError(
                f"shape {shape.name}: {key} = {room}; decode needs {need} ({what}); nearest: {need}"
            )
