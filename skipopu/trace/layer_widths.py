"""The widths of a layer's matrices, token by token where modalities differ: the model's shape, statically pruned."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from skipopu.trace.arrays import Bools
from skipopu.trace.header import LayerShape
from skipopu.trace.schema import Trace


@dataclass(frozen=True)
class Widths:
    """Elements of a layer's vectors; ``rank`` is that of low-rank weights, 0 for whole ones.

    ``ranks`` gives it matrix by matrix where they differ.
    """

    hidden: int
    query: int
    kv: int
    ffn: int
    head_dim: int
    rank: int = 0
    sparsity: str = "dense"
    ranks: Mapping[str, int] = field(default_factory=dict)

    def product(self, name: str, m: int, n: int, k: int, note: str) -> Iterator[tuple[str, int, int, int, str]]:
        """Yield (name, m, n, k, note) of one projection: two where weights are low-rank, half of K where 2:4 sparse."""
        if rank := self.ranks.get(name, self.rank):
            yield f"{name}_in", m, rank, k, note
            yield f"{name}_out", m, n, rank, note
        elif self.sparsity == "2:4":
            yield name, m, n, k // 2, f"{note}; K is the half that 2:4 keeps"
        else:
            yield name, m, n, k, note

    def row_macs(self, gated: bool) -> dict[str, int]:
        """Return the multiply-accumulates of one row by projection; an FFN without SwiGLU has no gate."""
        sizes = {
            "q": (self.query, self.hidden), "k": (self.kv, self.hidden), "v": (self.kv, self.hidden),
            "o": (self.hidden, self.query), "gate": (self.ffn, self.hidden), "up": (self.ffn, self.hidden),
            "down": (self.hidden, self.ffn),
        }  # fmt: skip
        names = [name for name in sizes if gated or name != "gate"]
        return {name: sum(n * k for _, _, n, k, _ in self.product(name, 1, *sizes[name], "")) for name in names}


def width_groups(trace: Trace, layer: int) -> list[tuple[Bools, Widths]]:
    """Return the tokens (bool, [tokens]) that share widths in ``layer``; every token is in one group.

    What a layer shape of a segment type leaves open is taken from that of the whole layer, then from the model's shape.
    """
    shapes = {shape.segment: shape for shape in trace.header.layer_shapes if shape.layer == layer}
    whole = shapes.pop("", LayerShape(layer))
    rest, groups = np.ones(trace.tokens, bool), []
    for segment, shape in shapes.items():
        members = _members(trace, segment)
        rest &= ~members
        groups.append((members, _widths(trace, shape, whole)))
    return [(rest, _widths(trace, whole, whole)), *groups]


def _members(trace: Trace, segment: str) -> Bools:
    members = np.zeros(trace.tokens, bool)
    for part in trace.header.segments:
        if part.type == segment:
            members[part.first : part.first + part.count] = True
    return members


def _widths(trace: Trace, shape: LayerShape, whole: LayerShape) -> Widths:
    d = trace.header.shape.dimensions

    def of(name: str) -> int:
        own, layer = getattr(shape, name), getattr(whole, name)
        return int(own if own is not None else layer if layer is not None else getattr(d, name, 0))

    return Widths(
        hidden=of("hidden_size"),
        query=of("attention_heads") * d.head_dim,
        kv=of("kv_heads") * d.head_dim,
        ffn=of("intermediate_size"),
        head_dim=d.head_dim,
        rank=of("rank"),
        sparsity=shape.sparsity if shape.sparsity != "dense" else whole.sparsity,
        ranks=_ranks(shape.ranks or whole.ranks),
    )


def _ranks(ranks: tuple[int, ...]) -> dict[str, int]:
    names = ("q", "k", "v", "o", "gate", "up", "down")
    return dict(zip([n for n in names if n != "gate" or len(ranks) == len(names)], ranks, strict=False))
