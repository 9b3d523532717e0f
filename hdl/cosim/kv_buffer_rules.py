"""What holds of the chunks that the RTL delivered, whatever a model says: told from the chunks' own contents.

Every word of the memory names its port and address, so that a chunk tells whose vector it belongs to.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Ordered

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.cosim.axi_memory_contents import MIX, PORT_SHIFT, SHIFTS
from skipopu.hdl.cosim.axi_memory_state import WORDS
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.kv_buffer_events import DONE, OUTPUT
from skipopu.hdl.cosim.kv_buffer_outputs import Outputs, read_outputs
from skipopu.hdl.cosim.kv_buffer_stimulus import Operation, Sequence
from skipopu.hdl.kv_layout import KvShape
from skipopu.spec.overlay import HBM_BEAT_BYTES

Ints = NDArray[np.int64]
Rounds = list[list[tuple[int, int]]]  # lane and token of each entry


def broken_rule(shape: KvShape, work: Ordered[Sequence], found: Arrays) -> Difference | None:
    """Return the first operation that breaks a rule.

    Every visible token comes once, from its own port or from the buffer, with its number, the chunks of its vector in
    order and every bit as the memory has it; the last chunk of an operation says so and no other; V comes in the rounds
    of K; where the query does not execute nothing comes; the buffer gives nothing in a first layer or in prefill.
    """
    outputs, counts = read_outputs(found["outputs"], shape), _transfers(found["trace"])
    first, rounds, number = 0, Rounds(), 0
    for sequence in work:
        for operation in sequence.operations:
            part = outputs.part(first, next(counts, 0))
            keys, first = rounds, first + len(part.mask)
            visible = _visible(shape, sequence, operation)
            rounds, wrong = _rounds(shape, operation, part, visible)
            wrong = wrong or _wrong_tokens(operation, visible, rounds, keys) or _wrong_lanes(shape, operation, rounds)
            if wrong:
                return Difference("operation", number, *wrong)
            number += 1
    return None


Wrong = tuple[str, int, int]  # what is wrong, what it must be, what it is


def _transfers(trace: NDArray[np.uint8]) -> Iterator[int]:
    """Transfers of the output in each operation."""
    moved = np.concatenate([[0], np.cumsum(trace[:, 0] & OUTPUT != 0)])
    ends = moved[1:][trace[:, 0] & DONE != 0]
    yield from np.diff(ends, prepend=0).tolist()


def _visible(shape: KvShape, sequence: Sequence, o: Operation) -> dict[tuple[int, int], int]:
    """Port and chunk address of what must be read → token."""
    found = {}
    order = np.cumsum(sequence.bits, axis=1) - 1
    for token in range(o.tokens):
        executed = np.flatnonzero(sequence.bits[: o.layer + 1, token])
        if not o.executed or not len(executed) or not (sequence.reuse or executed[-1] == o.layer):
            continue
        layer = int(executed[-1])
        slot, port = divmod(int(order[layer, token]), shape.ports)
        vector = (2 * layer + o.value) * sequence.slots + slot
        found[port, sequence.base + vector * sequence.vector + o.offset] = token
    return found


def _rounds(
    shape: KvShape, o: Operation, part: Outputs, visible: dict[tuple[int, int], int]
) -> tuple[Rounds, Wrong | None]:
    """Tokens of each round, lane by lane."""
    rounds, (ports, chunks) = Rounds(), _origin(shape, part)
    if part.end[:-1].any() or not part.end[-1:].all():
        return rounds, ("the last chunks are the end", 1, 0)
    if len(part.mask) % o.chunks:
        return rounds, ("transfers of the last round", o.chunks, len(part.mask) % o.chunks)
    for first in range(0, len(part.mask), o.chunks):
        rows, what = slice(first, first + o.chunks), f"round {len(rounds)}"
        mask, last = part.mask[rows], part.last[rows]
        if (mask != mask[0]).any() or last[:-1].any() or not last[-1]:
            return rounds, (f"{what} ends with its last chunks", 1, 0)
        rounds.append([])
        for lane in (lane for lane in range(shape.lanes) if int(mask[0]) >> lane & 1):
            port, chunk = int(ports[first, lane]), chunks[rows, lane]
            token = visible.get((port, int(chunk[0])), -1)
            if token < 0 or (np.diff(chunk) != 1).any() or (ports[rows, lane] != port).any():
                return rounds, (f"{what}, lane {lane} brings a visible token's vector", 1, 0)
            if (part.tokens[rows, lane] != token).any():
                return rounds, (f"{what}, lane {lane} brings token", token, int(part.tokens[first, lane]))
            if lane < shape.ports and lane != port:
                return rounds, (f"{what}, lane {lane} is the port of token {token}", port, lane)
            rounds[-1].append((lane, token))
    return rounds, None


def _wrong_tokens(o: Operation, visible: dict[tuple[int, int], int], rounds: Rounds, keys: Rounds) -> Wrong | None:
    tokens = sorted(token for each in rounds for _, token in each)
    if tokens != sorted(visible.values()):
        odd = next((t for t in visible.values() if tokens.count(t) != 1), -1)
        return f"token {odd} comes", 1, tokens.count(odd)
    if o.value and rounds != keys:
        return "V comes in the rounds of K", 1, 0
    return None


def _wrong_lanes(shape: KvShape, o: Operation, rounds: Rounds) -> Wrong | None:
    most = max(map(len, rounds), default=0)
    if most > shape.round_tokens:
        return "tokens of a round", shape.round_tokens, most
    buffered = sum(lane >= shape.ports for each in rounds for lane, _ in each)
    if buffered and (o.layer == 0 or not o.decode):
        return "tokens from a buffer that is not valid", 0, buffered
    return None


def _origin(shape: KvShape, part: Outputs) -> tuple[Ints, Ints]:
    """Port and chunk address that the words of each chunk name, [transfer, lane]; −1 where they are no chunk.

    A word is a number's hash, and the numbers of a chunk's words follow one another.
    """
    z = _unshifted(part.data, SHIFTS[2])
    for multiplier, shift in ((MIX[2], SHIFTS[1]), (MIX[1], SHIFTS[0])):
        z = _unshifted(z * _inverse(multiplier), shift)
    number = (z * _inverse(MIX[0])).astype(np.int64) - 1
    key, words = number[:, :, 0] // WORDS, WORDS * shape.ratio
    whole = (number[:, :, 0] % words == 0) & (np.diff(number, axis=2) == 1).all(axis=2)
    beat = key & (1 << PORT_ADDRESS_BITS) // HBM_BEAT_BYTES - 1
    return np.where(whole, key >> PORT_SHIFT, -1), np.where(whole, beat // shape.ratio, -1)


def _unshifted(z: NDArray[np.uint64], shift: np.uint64) -> NDArray[np.uint64]:
    """Undo z ^= z >> shift."""
    found = z
    for _ in range(64 // int(shift)):
        found = z ^ found >> shift
    return found


def _inverse(multiplier: np.uint64) -> np.uint64:
    return np.uint64(pow(int(multiplier), -1, 1 << 64))
