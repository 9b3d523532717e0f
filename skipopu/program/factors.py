"""Low-rank weights: a projection is two products, from its input to as many elements as its rank, and on to its output.

Both factors are weight matrices of their own, with scales of their own, streamed one after the other; the rows between
them stay in the global buffer. Gate and up are not interleaved then: the gate's rows go to where the FFN's inner rows
lie, and those of up are multiplied with SiLU of them on their way out (`Post.PRODUCT`), so that no zeros are streamed.
"""

import math
from collections.abc import Mapping

from skipopu.program.isa import Post
from skipopu.program.part_matrices import has_unit_columns
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.layer_widths import Widths

Sizes = tuple[int, int, str]  # rows of a weight matrix, columns, datatype
IN, OUT = "_in", "_out"
PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
RANK = "rank"  # the place between two factors
ACTIVATIONS = {"swiglu": Post.SWIGLU, "gelu": Post.GELU, "relu": Post.RELU}


def factored(matrices: Mapping[str, Sizes], widths: Widths, dot: int) -> dict[str, Sizes]:
    """Replace the matrices of a layer that are low-rank by their factors; gate and up by two where one of them is."""
    apart = any(rank_of(widths, name) for name in ("gate", "up"))
    found: dict[str, Sizes] = {}
    for name, (rows, columns, datatype) in matrices.items():
        halves = ("gate", "up") if apart and name == "gate_up" else (name,)
        for half in halves:
            found |= _factors(half, (rows, columns // len(halves), datatype), rank_of(widths, half), dot)
    return found


def _factors(name: str, sizes: Sizes, rank: int, dot: int) -> dict[str, Sizes]:
    """The rows between fill whole row tiles, padded with zeros, as all results do."""
    if not rank:
        return {name: sizes}
    rows, columns, datatype = sizes
    return {name + IN: (rows, math.ceil(rank / dot) * dot, datatype), name + OUT: (rank, columns, datatype)}


def rank_of(widths: Widths, name: str) -> int:
    """Rank of a projection ("q", "k", "v", "o", "gate", "up", "down"), 0 for a whole matrix or none of these."""
    return widths.ranks.get(name, widths.rank) if name in PROJECTIONS else 0


def largest_rank(widths: Widths) -> int:
    """Elements that the place between two factors holds."""
    return max(rank_of(widths, name) for name in PROJECTIONS)


def projection_of(name: str) -> str:
    """The projection that a weight matrix is, or is a factor of."""
    return name.removesuffix(IN).removesuffix(OUT)


def first_factor(name: str) -> bool:
    """Whether a weight matrix leads to the elements between two factors."""
    return name.endswith(IN)


def ends(name: str, source: str, target: str) -> tuple[str, str]:
    """Return the places between which a weight matrix of a projection from ``source`` to ``target`` leads."""
    return RANK if name.endswith(OUT) else source, RANK if first_factor(name) else target


def biased(shape: ModelShape, name: str) -> bool:
    """Whether the products of a weight matrix have a bias: a projection's is added behind its second factor.

    The matrices of a module that joins vision states all have one (`skipopu.program.joints`).
    """
    always = name.startswith("fuse") or has_unit_columns(name)
    return always or (not first_factor(name) and shape.biased(projection_of(name)))


def inner_post(shape: ModelShape, name: str) -> Post:
    """What happens to the results of a matrix that leads from the FFN's input to its inner rows."""
    if first_factor(name) or projection_of(name) == "gate":
        return Post.NONE
    if name == "gate_up" or not shape.gated:
        return ACTIVATIONS[shape.dimensions.activation]
    return Post.PRODUCT
