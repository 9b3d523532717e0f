"""How tiles of K, V and router weights divide into pieces: what of a chunk goes into a tile in a cycle."""

from dataclasses import dataclass

from skipopu.spec.overlay import FP16_BYTES, Overlay

LOGITS = (2, 4)  # columns of router weights: execute and skip of one module, of both
PACKED = 2  # heads


@dataclass(frozen=True)
class KerShape:
    """Sizes, in FP16 elements where nothing else is said; chunk and piece divide one another, and so does a tile."""

    columns: int
    dot_length: int
    heads: int  # of K in a tile: one, or two that are packed
    lanes: int  # of the KV buffer
    slots: int  # tokens of a round at most: columns of K of a head, places of V in a dot product
    chunk: int  # of a lane
    word: int  # of the stream of router weights

    @property
    def key(self) -> int:
        """Elements of a token in a K tile."""
        return self.heads * self.dot_length

    @property
    def key_pieces(self) -> int:
        """Cycles of a K tile."""
        return max(self.key // self.chunk, 1)

    @property
    def key_segments(self) -> int:
        """K tiles of a chunk."""
        return max(self.chunk // self.key, 1)

    @property
    def value_part(self) -> int:
        """Elements of a token in a piece of a V tile: the part of `Overlay.value_columns` that is in one chunk."""
        return min(self.chunk, 1 << self.columns.bit_length() - 1)

    @property
    def value_pieces(self) -> int:
        """Most cycles of a V tile."""
        return max(self.columns // self.chunk, 1)

    @property
    def value_segments(self) -> int:
        """V tiles of a chunk."""
        return self.chunk // self.value_part

    def constant_pieces(self, logits: int) -> int:
        """Cycles of a tile of router weights."""
        return max(logits * self.dot_length // self.word, 1)

    def constant_segments(self, logits: int) -> int:
        """Such tiles of a word."""
        return max(self.word // (logits * self.dot_length), 1)

    @property
    def pieces(self) -> int:
        """Most cycles of any tile."""
        return max(self.key_pieces, self.value_pieces, *map(self.constant_pieces, LOGITS))

    @property
    def segments(self) -> int:
        """Most tiles of a chunk or word."""
        return max(self.key_segments, self.value_segments, *map(self.constant_segments, LOGITS))

    @property
    def by_rank(self) -> bool:
        """Fewer slots than lanes: tokens take them in the order of their lanes."""
        return self.lanes > self.slots


def ker_shape(overlay: Overlay) -> KerShape:
    """Sizes for ``overlay``."""
    pe, word = overlay.pe_array, overlay.ker.constant_bytes_per_cycle
    return KerShape(
        columns=pe.columns, dot_length=pe.dot_length, heads=overlay.dataflow.packed_heads,
        lanes=overlay.dma.hbm_ports + overlay.buffer_ports, slots=overlay.tokens_per_round,
        chunk=overlay.chunk_bytes // FP16_BYTES, word=word // FP16_BYTES,
    )  # fmt: skip
