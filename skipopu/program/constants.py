"""Constants in DDR4: blocks that fill a constants half, with gains, router weights, scales and biases in them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from skipopu.program.factors import biased, projection_of
from skipopu.program.joints import Joint
from skipopu.program.part_matrices import LOGITS, column_cuts, constant_groups
from skipopu.program.row_lists import NO_LISTS, RowLists
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import DDR_BEAT_BYTES, FP16_BYTES, Overlay
from skipopu.trace.router import Router

WIDE_ROUTERS = ("bottleneck", "mlp")
WORD_ELEMENTS = DDR_BEAT_BYTES // FP16_BYTES  # constants are addressed in words of 64 bytes


class Piece(NamedTuple):
    """A vector in a block: ``kind`` is gamma, beta, router, scales or biases.

    ``name``: of a norm (attention, ffn, final), of routed modules (joined by +), or of a weight matrix; of its columns
    there are ``columns`` from ``first`` on.
    """

    at: int  # element of the block where it begins
    kind: str
    name: str
    first: int = 0
    columns: int = 0

    @property
    def word(self) -> int:
        """The 64-byte word where it begins; beta, which follows gamma, may begin within one."""
        return self.at // WORD_ELEMENTS


class ConstantBlock(NamedTuple):
    """What one LOAD_CONSTANTS brings."""

    address: int  # bytes from the start of the region
    words: int  # even: a transfer takes a word from each of two channels
    pieces: tuple[Piece, ...]


ConstantMap = Mapping[tuple[int, str], tuple[ConstantBlock, ...]]
Parts = list[tuple[str, int, int]]  # weight matrix, first column, columns


@dataclass(frozen=True)
class Channels:
    """How many output channels of a matrix fit one half, in parts that begin where everything is aligned."""

    unit: int  # a part begins at a multiple: column blocks, row tiles (two for SwiGLU), words of DDR4
    most: int  # channels of a part
    cuts: Mapping[str, int] = field(default_factory=dict)  # matrix → channels of a part, where groups are parts

    @classmethod
    def of(cls, shape: ModelShape, overlay: Overlay, lists: RowLists = NO_LISTS) -> "Channels":
        """Raise SpecError where the half does not hold one unit, or a group is not made of units."""
        d, half = shape.dimensions, overlay.constants.half_bytes
        size = FP16_BYTES * (2 if d.qkv_bias or d.linear_bias else 1)
        unit = math.lcm(overlay.pe_array.columns, 2 * overlay.pe_array.dot_length, overlay.ddr_bytes_per_cycle // 2)
        if unit * size > half:
            raise SpecError(
                f"shape {shape.name}: constants.half_bytes = {half}; scales of {unit} columns need {unit * size};"
                f" nearest: {unit * size}"
            )
        most, cuts = half // size // unit * unit, column_cuts(shape, overlay, lists)
        for name, columns in cuts.items():
            if columns % unit or columns > most:
                raise SpecError(
                    f"trace: groups of {columns} columns of {name}; a group must be a multiple of {unit} columns"
                    f" (column blocks, row tiles, words of constants) and at most {most} (constants.half_bytes); choose"
                    " other groups, or --set pe_array.columns, pe_array.dot_length or constants.half_bytes"
                )
        return cls(unit, most, cuts)

    def parts(self, name: str, columns: int) -> Parts:
        """Cut ``columns`` of a matrix."""
        most = self.cuts.get(name, self.most)
        return [(name, first, min(most, columns - first)) for first in range(0, columns, most)]


def norm_modules(router: Router, norm: str) -> tuple[str, ...]:
    """Modules whose routers read what goes into ``norm``, and so come with its gains."""
    together = router.ffn_input == "layer_input"
    return {"attention": ("attention", "ffn") if together else ("attention",), "ffn": () if together else ("ffn",)}.get(
        norm, ()
    )


def map_constants(
    shape: ModelShape, overlay: Overlay, router: Router, columns: Mapping[tuple[int, str], int],
    heads: tuple[str, ...] = (), lists: RowLists = NO_LISTS, joints: tuple[Joint, ...] = (),
) -> ConstantMap:
    """Lay out all blocks: (layer, norm or first matrix of a group) → blocks; ``columns`` of the weight matrices.

    Those of ``heads`` beside the LM head come last, then those of the modules of ``joints``.
    """
    found: dict[tuple[int, str], tuple[ConstantBlock, ...]] = {}
    channels, address = Channels.of(shape, overlay, lists), 0
    modules = ((joint.layer, joint.matrices) for joint in joints if joint.modular)
    for layer, group in (*_groups(shape, lists), *((-1, (head,)) for head in heads), *modules):
        if group[0].endswith("norm"):
            halves = [_norm(shape, overlay, router, layer, group[0].removesuffix(" norm"), lists)]
        else:
            names = [name for at, name in columns if at == layer and projection_of(name) in group]
            parts = [part for name in names for part in channels.parts(name, columns[layer, name])]
            halves = list(_scales(shape, overlay, parts))
        blocks = []
        for words, pieces in halves:
            blocks.append(ConstantBlock(address, words + words % 2, pieces))
            address += blocks[-1].words * DDR_BEAT_BYTES
        found[layer, group[0]] = tuple(blocks)
    return found


def _groups(shape: ModelShape, lists: RowLists) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Norms and the matrices whose scales come together, in the order of use."""
    for layer in range(shape.dimensions.layers):
        ffn = () if lists.has_experts(layer) else (_inner(shape), ("down",))
        for group in (("attention norm",), ("k", "v", "q", "o"), ("ffn norm",), *ffn):
            yield layer, group
        for group in constant_groups(lists, layer):
            yield layer, group
    yield -1, ("final norm",)
    yield -1, ("lm_head",)


def _inner(shape: ModelShape) -> tuple[str, ...]:
    """What leads to the FFN's inner rows: low-rank, gate and up are apart."""
    return (shape.ffn_input, "gate", "up") if shape.gated else (shape.ffn_input,)


def _norm(
    shape: ModelShape, overlay: Overlay, router: Router, layer: int, norm: str, lists: RowLists
) -> tuple[int, tuple[Piece, ...]]:
    """Gains in whole row tiles, then each router's two columns, tile by tile; linear ones of two modules together."""
    dot = overlay.pe_array.dot_length
    width = math.ceil(shape.dimensions.hidden_size / dot) * dot
    pieces, end = [Piece(0, "gamma", norm)], width
    if shape.dimensions.norm == "layer":
        pieces.append(Piece(end, "beta", norm))
        end += width
    whole = [m for m in norm_modules(router, norm) if not lists.groups(m)]
    modules = [m for m in whole if layer >= 0 and router.decides(m, layer)]
    wide = router.kind in WIDE_ROUTERS
    inner = math.ceil(router.hidden / dot) * dot if wide else width
    word = math.ceil(end / WORD_ELEMENTS)
    for names in [(m,) for m in modules] if wide else [tuple(modules)] if modules else []:
        pieces.append(Piece(word * WORD_ELEMENTS, "router", "+".join(names)))
        word += math.ceil(LOGITS * len(names) * inner / WORD_ELEMENTS)
    size = word * DDR_BEAT_BYTES
    if size > overlay.constants.half_bytes:
        vectors = "gamma and beta" if shape.dimensions.norm == "layer" else "gamma"
        raise SpecError(
            f"shape {shape.name}: constants.half_bytes = {overlay.constants.half_bytes};"
            f" {vectors} and {LOGITS * len(modules)} router columns need {size}; nearest: {size}"
        )
    return word, tuple(pieces)


def _scales(shape: ModelShape, overlay: Overlay, parts: Parts) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    """Several parts a half: of each the scales, then the biases, of whole row tiles, for results leave in words."""
    room, word = overlay.constants.half_bytes // DDR_BEAT_BYTES // 2 * 2, 0
    unit = max(WORD_ELEMENTS, overlay.pe_array.dot_length)
    pieces: list[Piece] = []
    for name, first, columns in parts:
        words = math.ceil(columns / unit) * unit // WORD_ELEMENTS
        need = words * (1 + biased(shape, name))
        if word + need > room:
            yield word, tuple(pieces)
            word, pieces = 0, []
        pieces.append(Piece(word * WORD_ELEMENTS, "scales", name, first, columns))
        if biased(shape, name):
            pieces.append(Piece((word + words) * WORD_ELEMENTS, "biases", name, first, columns))
        word += need
    yield word, tuple(pieces)
