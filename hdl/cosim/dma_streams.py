"""Streams of the DMA under cocotb: K/V requests and chunks of a port, and what a `Source` offers."""

from typing import Any

from cocotb.handle import Immediate

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.dma_trace import KV_CHUNK, KV_REQUEST, KV_VALID, PORT_STREAMS
from skipopu.hdl.cosim.flags import Flags
from skipopu.hdl.cosim.stalls import Source


class KvPort:
    """K/V requests and chunks of a port; the credit for chunks is kept here, as whoever asks must."""

    def __init__(self, dut: Any, number: int, flags: Flags, a: Arrays) -> None:
        request, chunk = f"kv_request__{number}__", f"kv_chunk__{number}__"
        self._offer, self._pop = flags.names_in.index(request + "valid"), flags.names_in.index(chunk + "ready")
        self._ready, self._valid = flags.names_out.index(request + "ready"), flags.names_out.index(chunk + "valid")
        self._request, self._chunk = getattr(dut, request + "payload"), getattr(dut, chunk + "payload")
        self._work = a["kv"][number, : a["kv_count"][number]].tolist()
        self._may_ask, self._may_pop = (a[f"stall_{name} {number}"].tolist() for name in PORT_STREAMS)
        self._credit, self._next, self._offered = int(a["kv_chunks"]), 0, False
        self._address_bits = int(a["address_bits"])
        self.words: list[int] = []

    def drive(self, cycle: int) -> int:
        """Offer a request once it is due and its chunks have room; take a chunk or not. Return the flags."""
        at = cycle % len(self._may_ask)
        if not self._offered and self._next < len(self._work) and self._may_ask[at]:
            address, chunks = self._work[self._next]
            self._offered = chunks <= self._credit
            self._request.set(Immediate(chunks << self._address_bits | address))
        return self._offered << self._offer | self._may_pop[at] << self._pop  # type: ignore[no-any-return]

    def note(self, cycle: int, flags: int) -> int:
        """See what moves; a chunk taken gives its credit back for the next cycle."""
        found = 0
        if self._offered and flags >> self._ready & 1:
            found = 1 << KV_REQUEST
            self._credit -= self._work[self._next][1]
            self._next += 1
            self._offered = False
        if flags >> self._valid & 1:
            found |= 1 << KV_VALID
            if self._may_pop[cycle % len(self._may_pop)]:
                found |= 1 << KV_CHUNK
                self.words.append(self._chunk.value.to_unsigned())
                self._credit += 1
        return found


class Offers:
    """A stream into the block: a `Source` at its ports."""

    def __init__(self, dut: Any, name: str, source: Source, flags: Flags) -> None:
        self._valid, self._ready = flags.names_in.index(f"{name}__valid"), flags.names_out.index(f"{name}__ready")
        self._payload, self._source = getattr(dut, f"{name}__payload"), source

    def drive(self, cycle: int) -> int:
        """Put the item of this cycle on the port; return the flag."""
        stood = self._source.valid
        item = self._source.offer(cycle)
        if item is None:
            return 0
        if not stood:
            self._payload.set(Immediate(item))
        return 1 << self._valid

    def note(self, flags: int) -> bool:
        """Whether the item was taken."""
        moves = self._source.valid and bool(flags >> self._ready & 1)
        if moves:
            self._source.taken()
        return moves


def words(array: Any) -> list[int]:
    """Rows of bytes as integers, the first byte lowest."""
    return [int.from_bytes(row.tobytes(), "little") for row in array]
