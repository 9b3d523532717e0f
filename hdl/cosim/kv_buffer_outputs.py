"""What the KV buffer's output must carry, and what the RTL's did carry, transfer by transfer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.cosim.axi_memory_contents import beat_key, word
from skipopu.hdl.cosim.axi_memory_state import WORDS
from skipopu.hdl.cosim.kv_buffer_model import Rounds
from skipopu.hdl.cosim.kv_buffer_stimulus import Operation, Sequence
from skipopu.hdl.kv_layout import KvShape, index
from skipopu.numerics.jit import jit
from skipopu.numerics.kv_schedule import Placement
from skipopu.spec.overlay import HBM_BEAT_BYTES

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Outputs:
    """Transfers in order; data of lanes that are not in the mask are zero."""

    mask: Words  # [transfer], a bit a lane
    last: Words
    end: Words
    tokens: Words  # [transfer, lane]; of lanes that are not in the mask zero
    data: Words  # [transfer, lane, 64-bit word]

    def part(self, first: int, count: int) -> "Outputs":
        """``count`` transfers from ``first`` on."""
        part = slice(first, first + count)
        return Outputs(self.mask[part], self.last[part], self.end[part], self.tokens[part], self.data[part])

    def table(self) -> Words:
        """A row a transfer: mask, last, end, tokens, words lane by lane."""
        transfers, lanes, words = self.data.shape
        data = self.data.reshape(transfers, lanes * words)
        return np.column_stack([self.mask, self.last, self.end, self.tokens, data])


def names_of_columns(shape: KvShape) -> tuple[str, ...]:
    """What the columns of `Outputs.table` are."""
    size = shape.chunk_bytes // 8
    lanes = (f"lane {lane}, 64-bit word {place}" for lane in range(shape.lanes) for place in range(size))
    return ("mask", "last", "end", *(f"token of lane {lane}" for lane in range(shape.lanes)), *lanes)


def read_outputs(payloads: NDArray[np.uint8], shape: KvShape) -> Outputs:
    """Take the payloads of the output stream, rows of bytes, apart."""
    size = shape.lanes * shape.chunk_bytes
    data = np.ascontiguousarray(payloads[:, :size]).view("<u8").reshape(-1, shape.lanes, shape.chunk_bytes // 8)
    bits = np.unpackbits(payloads[:, size:], axis=1, bitorder="little").astype(np.uint64)
    mask, (last, end) = bits[:, : shape.lanes], bits[:, shape.lanes : shape.lanes + 2].T
    width = token_bits(shape)
    tokens = bits[:, shape.lanes + 2 :][:, : shape.lanes * width].reshape(-1, width)
    found = _number(tokens).reshape(-1, shape.lanes) * mask
    return Outputs(_number(mask), last, end, found, np.where(mask[:, :, None] == 1, data, np.uint64(0)))


def token_bits(shape: KvShape) -> int:
    """Width of a token's number."""
    return (len(index(shape.tokens)) - 1).bit_length()


def expected_outputs(
    shape: KvShape, sequence: Sequence, place: Placement, operation: Operation, rounds: Rounds
) -> Outputs:
    """Transfers of an operation: round after round, all chunks of its entries side by side."""
    count, chunks = len(rounds.first) - 1, operation.chunks
    entry_round = np.repeat(np.arange(count), np.diff(rounds.first))
    mask, tokens = (np.zeros((count, shape.lanes), np.uint64) for _ in range(2))
    last, end = (np.zeros((count, chunks), np.uint64) for _ in range(2))
    mask[entry_round, rounds.lane], tokens[entry_round, rounds.lane] = 1, rounds.token
    last[:, -1:] = end[-1:, -1:] = 1
    data = np.zeros((count, chunks, shape.lanes, shape.chunk_bytes // 8), np.uint64)
    port, address = _addresses(shape, sequence, place, operation, rounds.token)
    vectors = np.zeros((len(port), chunks, shape.chunk_bytes // 8), np.uint64)
    _read_contents(port, address, shape.ratio, vectors)
    data[entry_round, :, rounds.lane] = vectors
    masks, tokens = np.repeat(_number(mask), chunks), np.repeat(tokens, chunks, axis=0)
    return Outputs(masks, last.reshape(-1), end.reshape(-1), tokens, data.reshape(-1, *data.shape[2:]))


def _number(bits: Words) -> Words:
    weights: Words = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    return bits @ weights


def _addresses(
    shape: KvShape, sequence: Sequence, place: Placement, o: Operation, token: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Port and AXI address of what is read of each token."""
    source, slot = place.source[o.layer, token].astype(np.int64), place.slot[o.layer, token]
    chunk = sequence.base + ((2 * source + o.value) * sequence.slots + slot) * sequence.vector + o.offset
    port = place.port[o.layer, token].astype(np.int64)
    return port, (port << PORT_ADDRESS_BITS) + chunk * shape.chunk_bytes


@jit
def _read_contents(port: Any, address: Any, ratio: int, found: Any) -> None:
    """What the memory holds from each address on, [address, chunk, word]."""
    for n in range(len(port)):
        for beat in range(found.shape[1] * ratio):
            key = beat_key(port[n], address[n] + beat * HBM_BEAT_BYTES)
            for place in range(WORDS):
                found[n, beat // ratio, beat % ratio * WORDS + place] = word(key, place)
