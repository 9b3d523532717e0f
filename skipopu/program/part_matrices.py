"""Weight matrices of modules that run in parts: which parts of q and of the FFN's input are streams of their own, and
o and down cut along K.

A group of heads or channels is a part of the columns of q, or of the FFN's input, and of the rows of o, or of down.
Rows that run a group add its product to the residual stream; the channels of o and down have one scale for all groups.
An expert has three matrices of its own behind those that score all experts. A stand-in has two; its SiLU is that of
SwiGLU, whose other factor is 1: columns of zeros with a bias of 1, streamed beside the others.
"""

import math
from collections.abc import Iterator, Mapping

from skipopu.program.row_lists import EXPERTS, STAND_INS, RowLists
from skipopu.spec.error import SpecError
from skipopu.spec.ker_shape import LOGITS as MODULE_LOGITS
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace.vocabulary import MODULES

Sizes = tuple[int, int, str]  # rows of a weight matrix, columns, datatype
SCORE, GATE, UP, DOWN = "expert_score", "expert_gate", "expert_up", "expert_down"
LISTS = {module: f"router_lists_{module}" for module in MODULES}  # last layers of routers that choose groups
LOGITS = MODULE_LOGITS[0]  # of a module or of a group: run, or not


def parted(
    matrices: Mapping[str, Sizes], shape: ModelShape, overlay: Overlay, lists: RowLists, layer: int, router_hidden: int
) -> dict[str, Sizes]:
    """Replace the matrices of ``layer`` that are cut along K or belong to experts, and add those of parts alone."""
    found: dict[str, Sizes] = {}
    for name, sizes in matrices.items():
        module = {"o": "attention", "down": "ffn"}.get(name)
        if lists.has_experts(layer) and name in (shape.ffn_input, "down"):
            found |= _experts(shape, overlay, lists) if name == "down" else {}
        else:
            found |= _slices(name, sizes, lists.groups(module) if module else 0)
    for module, name in LISTS.items():
        if groups := lists.groups(module):
            found[name] = (router_hidden or shape.dimensions.hidden_size, LOGITS * groups, "fp16")
    return found | _stand_ins(shape, overlay, lists)


def slices(name: str, groups: int) -> list[str]:
    """Return the matrices that o or down is cut into along K."""
    return [f"{name}.{group}" for group in range(groups)] if groups else [name]


def whole(name: str) -> str:
    """The matrix whose scales a slice of o or down has."""
    base = name.split(".")[0]
    return base if base in ("o", "down") else name


def column_cuts(shape: ModelShape, overlay: Overlay, lists: RowLists) -> dict[str, int]:
    """Return matrix → columns of a group, where groups are parts of its columns."""
    d, head = shape.dimensions, overlay.head_storage(shape.dimensions.head_dim)
    found = {}
    if groups := lists.groups("attention"):
        found["q"] = d.attention_heads // groups * head
    if groups := lists.groups("ffn"):
        found[shape.ffn_input] = (1 + shape.gated) * d.intermediate_size // groups
    return found


def constant_groups(lists: RowLists, layer: int) -> Iterator[tuple[str, ...]]:
    """Yield the matrices whose scales come together, where a layer has others than usual for its FFN, or more."""
    if lists.has_experts(layer):
        yield (SCORE,)
        yield tuple(f"{kind}.{n}" for n in range(lists.count[EXPERTS]) for kind in (GATE, UP, DOWN))
    if STAND_INS in lists.count:
        yield from (stand_in(module) for module in MODULES)


def stand_in(module: str) -> tuple[str, str]:
    """Return the two matrices of a module's stand-in."""
    return f"{module}_stand_in.1", f"{module}_stand_in.2"


def has_unit_columns(name: str) -> bool:
    """Whether every other column of a matrix is zeros with a bias of 1."""
    return name in [stand_in(module)[0] for module in MODULES]


def check_groups(shape: ModelShape, overlay: Overlay, lists: RowLists) -> None:
    """Raise SpecError for groups that are no whole tiles of the global buffer."""
    dot = overlay.pe_array.dot_length
    if (groups := lists.groups("ffn")) and shape.dimensions.intermediate_size // groups % dot:
        raise SpecError(
            f"trace: FFN groups of {shape.dimensions.intermediate_size // groups} channels; a group must be whole tiles"
            f" of pe_array.dot_length = {dot} channels"
        )
    if lists.groups("attention") + lists.groups("ffn") and shape.dimensions.linear_bias:
        raise SpecError(f"shape {shape.name}: linear_bias = true; groups add up along K, each would add the bias")


def tiles_of_size(elements: int, overlay: Overlay) -> int:
    """Row tiles that hold ``elements``."""
    return math.ceil(elements / overlay.pe_array.dot_length)


def part_places(lists: RowLists, overlay: Overlay) -> dict[str, int]:
    """Return place → row tiles of a token: vectors of all experts, gate and inner row of one; between a stand-in's."""
    found = {}
    if EXPERTS in lists.count:
        rank, size = (tiles_of_size(lists.sizes[name], overlay) for name in ("expert_rank", "expert_size"))
        found = {"vectors": lists.count[EXPERTS] * rank, "gate": size, "inner": size}
    if STAND_INS in lists.count:
        found["stand_in"] = tiles_of_size(lists.sizes["rank"], overlay)
    return found


def part_tiles(lists: RowLists, overlay: Overlay, x: int) -> int:
    """Row tiles a token takes beside X while experts or a stand-in run."""
    places = part_places(lists, overlay)
    return x + sum(places.values()) if places else 0


def _slices(name: str, sizes: Sizes, groups: int) -> dict[str, Sizes]:
    rows, columns, datatype = sizes
    return {cut: (rows // max(groups, 1), columns, datatype) for cut in slices(name, groups)}


def _experts(shape: ModelShape, overlay: Overlay, lists: RowLists) -> dict[str, Sizes]:
    d, w, dot = shape.dimensions, overlay.datatypes.weights, overlay.pe_array.dot_length
    rank, size = lists.sizes["expert_rank"], lists.sizes["expert_size"]
    hidden, scored, inner = (tiles_of_size(n, overlay) * dot for n in (d.hidden_size, rank, size))
    found: dict[str, Sizes] = {SCORE: (d.hidden_size, lists.count[EXPERTS] * scored, w)}
    for number in range(lists.count[EXPERTS]):
        found |= {
            f"{GATE}.{number}": (rank, inner, w),
            f"{UP}.{number}": (d.hidden_size, inner, w),
            f"{DOWN}.{number}": (size, hidden, w),
        }
    return found


def _stand_ins(shape: ModelShape, overlay: Overlay, lists: RowLists) -> dict[str, Sizes]:
    if STAND_INS not in lists.count:
        return {}
    d, w, dot = shape.dimensions, overlay.datatypes.weights, overlay.pe_array.dot_length
    rank, hidden = lists.sizes["rank"], tiles_of_size(d.hidden_size, overlay) * dot
    found: dict[str, Sizes] = {}
    for module in MODULES:
        first, second = stand_in(module)
        found |= {first: (d.hidden_size, 2 * tiles_of_size(rank, overlay) * dot, w), second: (rank, hidden, w)}
    return found
