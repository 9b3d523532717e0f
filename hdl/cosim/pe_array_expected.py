"""What must leave the PE array: bits from `numerics`, in the order of turns, rows and slots."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.pe_array_stimulus import Operation
from skipopu.numerics.arithmetic import Arithmetic, arithmetic_of
from skipopu.numerics.dot_product import dot_products
from skipopu.numerics.psum import accumulate
from skipopu.spec.overlay import Overlay

Bits = NDArray[np.uint32]


def expected_results(operations: Sequence[Operation], overlay: Overlay) -> Bits:
    """Entries in the order in which they leave, [entries, columns] bits of the PSUM format."""
    arithmetic = arithmetic_of(overlay)
    return np.concatenate([block for o in operations for block in _blocks(o, arithmetic)])


def _blocks(o: Operation, arithmetic: Arithmetic) -> Iterator[Bits]:
    """A sum gets every ``turns``-th K-tile."""
    if o.kind == "nothing":
        return
    for weights, first, second in zip(o.tiles.weights, o.activations, o.second, strict=True):
        dots = np.stack([_dots(*tile, arithmetic) for tile in zip(weights, first, second, strict=True)])
        turns = [accumulate(dots[turn :: o.turns], arithmetic) for turn in range(o.turns)]
        yield np.concatenate([entries.reshape(-1, entries.shape[-1]) for entries in turns])


def _dots(weights: NDArray[np.int8], first: NDArray[np.uint16], second: NDArray[np.uint16], a: Arithmetic) -> Bits:
    """The columns of two heads meet different rows."""
    if first is second or np.array_equal(first, second):
        return dot_products(np.ascontiguousarray(first), weights, a)
    half = len(weights) // 2
    both = [dot_products(np.ascontiguousarray(r), w, a) for r, w in ((first, weights[:half]), (second, weights[half:]))]
    return np.concatenate(both, axis=1)


def entry_flags(operations: Sequence[Operation]) -> NDArray[np.uint8]:
    """Flags of the entries: bit 0 the last of a column block, bit 1 of an operation."""
    found = [np.zeros(0, np.uint8)]
    for o in operations:
        flags = np.zeros((o.all_blocks, o.block_entries), np.uint8)
        if o.block_entries:
            flags[:, -1] = 1
            flags[-1, -1] = 3
        found.append(flags.reshape(-1))
    return np.concatenate(found)


def round_counts(operations: Sequence[Operation]) -> list[int]:
    """The register of rounds behind every operation."""
    counts, last = [], 0
    for o in operations:
        last = o.tiles.rounds if o.kind == "keys" else last
        counts.append(last)
    return counts
