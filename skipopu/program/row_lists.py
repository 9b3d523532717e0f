"""Row lists: rows that run a part of a module, beside the row masks of whole modules.

Where tokens choose among parts of a module by themselves (head groups, FFN channel groups, experts, low-rank
stand-ins), the rows of a block that run a part are a list of their own in the bitmask, ``bitmask.lists`` of them. Lists
are numbered from 1 on, as in the field ``list`` of an instruction. A pair of K/V heads goes through the array packed:
where its two heads are in different groups, the rows that ask either of them are a list as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.program.isa import WIDTH
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace
from skipopu.trace.part_gemms import dense_layers, size_of
from skipopu.trace.vocabulary import MODULES

Bools = NDArray[np.bool_]
HEADS, CHANNELS, EXPERTS, STAND_INS = "head_groups", "ffn_groups", "experts", "approx_rows"
GROUPS: Mapping[str, str] = {"attention": HEADS, "ffn": CHANNELS}


@dataclass(frozen=True)
class RowLists:
    """Lists of a trace.

    ``first``, ``count``: number of the first list of a kind, and how many. ``pairs``: list of each pair of K/V heads.
    ``bits`` [lists, layers, tokens]: list n is ``bits[n − 1]``. ``sizes``: of experts and stand-ins, in elements.
    """

    first: Mapping[str, int]
    count: Mapping[str, int]
    pairs: tuple[int, ...]
    bits: Bools
    sizes: Mapping[str, int]
    dense_layers: int  # the first ones, whose FFN is no expert's

    def groups(self, module: str) -> int:
        """Groups of "attention" or "ffn", 0 where it runs whole."""
        return self.count.get(GROUPS[module], 0)

    def has_experts(self, layer: int) -> bool:
        """Whether the FFN of ``layer`` is made of experts."""
        return EXPERTS in self.count and layer >= self.dense_layers

    def group(self, module: str, number: int) -> int:
        """List of a group."""
        return self.first[GROUPS[module]] + number

    def expert(self, number: int) -> int:
        """List of an expert."""
        return self.first[EXPERTS] + number

    def stand_in(self, module: str) -> int:
        """List of the rows that run the stand-in of a module, 0 where there is none."""
        return self.first[STAND_INS] + MODULES.index(module) if STAND_INS in self.first else 0


NO_LISTS = RowLists({}, {}, (), np.zeros((0, 0, 0), np.bool_), {}, 0)


def row_lists(trace: Trace) -> RowLists:
    """Return the lists of a trace; SpecError where it lacks a size (see `skipopu.trace.gemms`)."""
    bits: list[Bools] = []
    first, count, sizes = {}, {}, {}
    for kind in (HEADS, CHANNELS, EXPERTS):
        array = trace.array(kind)
        if array is not None:
            first[kind], count[kind] = len(bits) + 1, array.shape[2]
            bits += list(np.moveaxis(array, 2, 0))
    approximated = trace.array(STAND_INS)
    if approximated is not None and approximated.any():
        first[STAND_INS], count[STAND_INS] = len(bits) + 1, len(MODULES)
        bits += list(approximated)
        sizes["rank"] = size_of(trace, "rank")
    if EXPERTS in count:
        sizes |= {name: size_of(trace, name) for name in ("expert_rank", "expert_size")}
    pairs = _pairs(trace, first[HEADS], count[HEADS], bits) if HEADS in count else ()
    empty = np.zeros((0, trace.layers, trace.tokens), np.bool_)
    return RowLists(first, count, pairs, np.array(bits) if bits else empty, sizes, dense_layers(trace))


def _pairs(trace: Trace, first: int, groups: int, bits: list[Bools]) -> tuple[int, ...]:
    """List of each pair of K/V heads; adds to ``bits`` those that no group has."""
    heads = trace.header.shape.dimensions.kv_heads
    found = []
    for pair in range(heads // 2):
        one, other = (first + head * groups // heads for head in (2 * pair, 2 * pair + 1))
        if one != other:
            bits.append(bits[one - 1] | bits[other - 1])
        found.append(one if one == other else len(bits))
    return tuple(found)


def check_lists(trace: Trace, lists: RowLists, overlay: Overlay) -> None:
    """Raise SpecError where the overlay has too few lists, or a trace asks for what no list can say."""
    have, need = overlay.bitmask.lists, len(lists.bits)
    if need > have:
        parts = dict(lists.count) | ({"head pairs": pairs} if (pairs := need - sum(lists.count.values())) else {})
        raise SpecError(
            f"overlay {overlay.name}: bitmask.lists = {have}; family {trace.header.family} needs {need}"
            f" ({', '.join(f'{n} of {kind}' for kind, n in parts.items())}); --set bitmask.lists={need}"
        )
    most = (1 << WIDTH["group"]) - 1
    if lists.count.get(EXPERTS, 0) > most:
        raise SpecError(f"trace: {lists.count[EXPERTS]} experts; an instruction counts at most {most}")
    if need and trace.header.kv_policy != "dense":
        raise SpecError(f"trace: kv_policy = {trace.header.kv_policy} and parts of modules; the compiler takes dense")
    for module in MODULES:
        if lists.groups(module):
            _check_routers(trace, lists, module)
    if STAND_INS in lists.count:
        _check_stand_ins(trace)


def _check_routers(trace: Trace, lists: RowLists, module: str) -> None:
    """Groups are a router's choice, layer by layer; in a layer without one all of them run."""
    router, kind = trace.header.router, GROUPS[module]
    if router.shared:
        raise SpecError(f"trace: {kind} and a router for both modules; the compiler takes a router a module")
    first = lists.first[kind] - 1
    run = lists.bits[first : first + lists.count[kind]].all(axis=(0, 2))
    for layer in np.flatnonzero(~run).tolist():
        if not router.decides(module, layer):
            raise SpecError(
                f"trace: layer {layer}: rows that do not run all {kind}, and no router; give the layer one, or run them"
            )


def _check_stand_ins(trace: Trace) -> None:
    """A router of two logits says that a row runs, or that its stand-in does."""
    approximated = trace.array(STAND_INS)
    assert approximated is not None
    for module, rows, bits in zip(MODULES, (trace.rows("q"), trace.rows("ffn")), approximated, strict=True):
        idle = int((~rows & ~bits).sum())
        if idle:
            raise SpecError(
                f"trace: {idle} rows run neither {module} nor its stand-in; a router of two logits chooses one of them;"
                " export with drop = 0, from a model without drop_margin"
            )
