"""What a run has exercised of the KV buffer: counts of what is hard to get right."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from skipopu.hdl.cosim.kv_buffer_model import Rounds
from skipopu.hdl.cosim.kv_buffer_stimulus import Operation, Sequence, can_keep
from skipopu.hdl.kv_layout import KvShape


@dataclass(frozen=True)
class Coverage:
    """Counts over all reads; K and V count apiece, and so do the entries of both."""

    valid_reads: int = 0  # find the buffer valid
    invalid_reads: int = 0  # of decode passes, find it invalid
    prefill_reads: int = 0
    skipped_reads: int = 0  # no query executes
    partial_reads: int = 0  # of a part of each vector
    hidden: int = 0  # tokens passed over: there is no K/V for them
    queued_rounds: int = 0  # from the heads of the waiting queues
    closed_by_tokens: int = 0  # rounds in order: the next token was one too many,
    closed_by_port: int = 0  # its HBM port was taken,
    closed_by_reads: int = 0  # all banks were read,
    closed_by_writes: int = 0  # all banks were written
    buffered: int = 0  # entries from the invariance buffer
    kept: int = 0  # entries written to it
    wrapped: int = 0  # of them, over an earlier token's place
    overwritten: int = 0  # of them, over a place that is read in the same round

    def __add__(self, other: "Coverage") -> "Coverage":
        """Count both."""
        mine, its = asdict(self), asdict(other)
        return Coverage(**{name: mine[name] + its[name] for name in mine})


KEEPING = ("valid_reads", "closed_by_port", "buffered", "kept", "wrapped", "overwritten")


def coverage(shape: KvShape, work: Iterable[tuple[Sequence, Operation, Rounds]]) -> Coverage:
    """Count over all reads."""
    return sum((_of_read(shape, *each) for each in work), Coverage())


def missing(shape: KvShape, found: Coverage) -> tuple[str, ...]:
    """Return what a run must exercise and ``found`` has not."""
    queued = () if shape.lock_step else ("queued_rounds",)
    needed = ("invalid_reads", *queued, *(KEEPING if can_keep(shape) else ()))
    return tuple(name for name in needed if getattr(found, name) == 0)


def _of_read(shape: KvShape, sequence: Sequence, o: Operation, r: Rounds) -> Coverage:
    decodes, capacity = o.decode and o.executed, max(sequence.bank_slots * shape.banks, 1)
    number = np.repeat(np.arange(len(r.first) - 1), np.diff(r.first))
    reads, keeps = r.read >= 0, r.kept >= 0
    here = set(zip(number[reads].tolist(), (r.read[reads] % capacity).tolist(), strict=True))
    there = zip(number[keeps].tolist(), (r.kept[keeps] % capacity).tolist(), strict=True)
    kind = Coverage(
        valid_reads=int(decodes and r.valid), invalid_reads=int(decodes and not r.valid),
        prefill_reads=int(o.executed and not o.decode), skipped_reads=int(not o.executed),
        partial_reads=int(o.executed and o.chunks < sequence.vector), hidden=(o.tokens - len(r.token)) * o.executed,
        buffered=int(reads.sum()), kept=int(keeps.sum()), wrapped=int((r.kept >= capacity).sum()),
        overwritten=sum(place in here for place in there),
        queued_rounds=0 if r.in_order else len(r.first) - 1,
    )  # fmt: skip
    return kind + _closed(shape, r) if r.in_order else kind


def _closed(shape: KvShape, r: Rounds) -> Coverage:
    """Why each round but the last ended: what the next one's first token could not have."""
    first, following = r.first[:-2], r.first[1:-1]
    read, kept = (np.concatenate([[0], np.cumsum(each >= 0)]) for each in (r.read, r.kept))
    tokens = following - first == shape.round_tokens
    writes = (r.kept[following] >= 0) & (kept[following] - kept[first] == shape.banks) & ~tokens
    reads = (r.read[following] >= 0) & (read[following] - read[first] == shape.banks) & ~tokens & ~writes
    others = len(following) - int(tokens.sum() + writes.sum() + reads.sum())
    return Coverage(
        closed_by_tokens=int(tokens.sum()), closed_by_writes=int(writes.sum()), closed_by_reads=int(reads.sum()),
        closed_by_port=others,
    )  # fmt: skip
