"""Random work for the router path: operations with gaps between their logits, and when finished lists are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.router_logits import Words, logits
from skipopu.spec.overlay import Overlay

RATES = (1.0, 1.0, 0.9, 0.5, 0.2)  # tokens a cycle of an operation
RUN = 3  # operations, at most, before the finished lists are read; those of a register routed twice are not
ROUTERS = 2


@dataclass(frozen=True)
class Operation:
    """Rows of a block through the routers of one or both gates."""

    gates: int  # bit 0 attention, bit 1 ffn
    mask: int
    layer: int
    first_token: int
    logits: Words  # [rows, 4]
    start: int  # cycle
    cycles: NDArray[np.int64]  # [rows]: of the logits

    @property
    def rows(self) -> int:
        """Of the block."""
        return len(self.logits)

    @property
    def pairs(self) -> dict[int, Words]:
        """Logits [rows, 2] of each routed gate, attention 0 and ffn 1."""
        routed = [gate for gate in range(ROUTERS) if self.gates >> gate & 1]
        return {gate: self.logits[:, 2 * k : 2 * k + 2] for k, gate in enumerate(routed)}

    @property
    def executes(self) -> dict[int, NDArray[np.bool_]]:
        """[rows] of each routed gate as NumPy compares numbers: not less, or not to be compared."""
        with np.errstate(invalid="ignore"):  # NaN that signal
            return {gate: ~(execute < skip) for gate, (execute, skip) in self.numbers.items()}

    @property
    def numbers(self) -> dict[int, NDArray[np.float32]]:
        """Logits [2, rows] of each routed gate as FP32 numbers."""
        words = {gate: np.ascontiguousarray(pair.T.astype(np.uint32)) for gate, pair in self.pairs.items()}
        return {gate: each.view(np.float32) for gate, each in words.items()}


@dataclass(frozen=True)
class Sweep:
    """One register read from end to end, a position a cycle, while nothing is routed."""

    start: int  # cycle
    mask: int
    length: int
    done: int  # operations that were routed before; of the last one of them the bitmask is scanned meanwhile


@dataclass(frozen=True)
class Work:
    """Operations in order, and the sweeps between them."""

    operations: Sequence[Operation]
    sweeps: Sequence[Sweep]
    cycles: int


def work(overlay: Overlay, tokens: int, rng: np.random.Generator) -> Work:
    """Return random operations of at least ``tokens`` tokens together; every one read that is not routed over."""
    operations: list[Operation] = []
    sweeps: list[Sweep] = []
    now, stages, sizes = 0, overlay.npe.route_stages, _sizes(overlay.dataflow.row_block, rng)
    while tokens > 0:
        for _ in range(int(rng.integers(1, RUN + 1))):
            operations.append(_operation(overlay, next(sizes), now, rng))
            now = int(operations[-1].cycles[-1]) + 1
            tokens -= operations[-1].rows
        now += stages - 1 + int(rng.choice([0, 0, 1, 5]))
        now = _sweep(operations, sweeps, now)
    return Work(operations, sweeps, now + stages)


def _sweep(operations: Sequence[Operation], sweeps: list[Sweep], now: int) -> int:
    """Read both registers from ``now`` on; return the cycle after."""
    for mask in range(2):
        routed = [last_routed(operations, len(operations), mask, gate) for gate in range(ROUTERS)]
        length = max(o.rows if o else 0 for o in routed)
        if length:
            sweeps.append(Sweep(now, mask, length, len(operations)))
            now += length
    return now


def last_routed(operations: Sequence[Operation], done: int, mask: int, gate: int) -> Operation | None:
    """Return the last of the first ``done`` operations that wrote a gate's list in a register."""
    for number in range(done - 1, -1, -1):
        operation = operations[number]
        if operation.mask == mask and operation.gates >> gate & 1:
            return operation
    return None


def _sizes(most: int, rng: np.random.Generator) -> Iterator[int]:
    """Yield rows of operations, every size class in turn: from a power of two to the next, and the most."""
    while True:
        for low in rng.permutation([1 << k for k in range(most.bit_length())] + [most]):
            yield int(rng.integers(low, min(2 * low - 1, most) + 1))


def _operation(overlay: Overlay, rows: int, now: int, rng: np.random.Generator) -> Operation:
    """An operation that may begin in ``now``: at once or later, its first logits with it or later."""
    b, start = overlay.bitmask, now + int(rng.choice([0, 0, 1, 4]))
    steps = rng.geometric(rng.choice(RATES), rows)
    steps[0] = rng.choice([0, 0, 1, 3])
    first_token = int(rng.integers(b.tokens - rows + 1))
    gates, mask, layer = int(rng.integers(1, 4)), int(rng.integers(2)), int(rng.integers(b.rows))
    numbers = logits(ROUTERS * rows, rng).reshape(rows, -1)
    return Operation(gates, mask, layer, first_token, numbers, start, start + np.cumsum(steps))
