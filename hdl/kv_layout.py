"""Payloads round the KV buffer: operation, settings, request, round; and the sizes that shape them."""

from dataclasses import dataclass

from amaranth.lib import data

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.ker_bank import HALVES
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import BOUNDARY, HBM_BEAT_BYTES, Overlay

VECTOR_BITS = 16  # chunks of a vector
# rounds in both halves of KER whose rows have not been asked for, the end of their operation and that of the next
ANNOUNCED_BEHIND = HALVES + 2


def index(count: int) -> range:
    """Shape of a number below ``count``; never without a bit."""
    return range(max(count, 2))


@dataclass(frozen=True)
class KvShape:
    """Sizes of the KV buffer of an overlay. A lane is a source of a round: HBM ports first, then banks."""

    ports: int  # HBM ports
    banks: int  # of the buffer
    bank_chunks: int  # that a bank holds
    round_tokens: int  # most tokens of a round
    rounds: int  # of the round queue
    queue_depth: int  # tokens that wait, or are being fetched, at a port
    kv_chunks: int  # chunk FIFO of a port
    burst_chunks: int
    chunk_bytes: int
    read_stages: int
    announcements: int  # that wait for who takes them, at most
    lock_step: bool  # rounds in order, too, while the buffer is invalid
    tokens: int  # of the token table
    rows: int  # of the bitmask

    @property
    def lanes(self) -> int:
        """Sources of a round."""
        return self.ports + self.banks

    @property
    def chunk_bits(self) -> int:
        """Width of a chunk."""
        return self.chunk_bytes * 8

    @property
    def ratio(self) -> int:
        """Beats of a chunk."""
        return self.chunk_bytes // HBM_BEAT_BYTES

    @property
    def boundary_chunks(self) -> int:
        """Chunks of the 4 KiB that no burst may leave."""
        return BOUNDARY // self.chunk_bytes

    @property
    def address_bits(self) -> int:
        """Address of a chunk in a port's range."""
        return PORT_ADDRESS_BITS - (self.chunk_bytes - 1).bit_length()


def kv_shape(overlay: Overlay) -> KvShape:
    """Sizes for ``overlay``; SpecError for the interleaved map, which the RTL does not have."""
    b, banks = overlay.kv_buffer, overlay.buffer_ports
    if b.map != "token_wise":
        what = "the RTL of the KV buffer reads a token from one port; nearest: token_wise"
        raise SpecError(f"overlay {overlay.name}: kv_buffer.map = {b.map}; {what}")
    return KvShape(
        ports=overlay.dma.hbm_ports, banks=banks,
        bank_chunks=b.capacity_bytes // banks // overlay.chunk_bytes if banks else 0,
        round_tokens=overlay.tokens_per_round, rounds=b.round_queue, queue_depth=b.queue_depth,
        kv_chunks=overlay.dma.kv_chunks, burst_chunks=overlay.hbm_burst_chunks, chunk_bytes=overlay.chunk_bytes,
        read_stages=b.read_stages, announcements=b.round_queue + b.read_stages + ANNOUNCED_BEHIND,
        lock_step=b.invalid_rounds == "lock_step",
        tokens=overlay.bitmask.tokens, rows=overlay.bitmask.rows,
    )  # fmt: skip


def settings_layout(shape: KvShape) -> data.StructLayout:
    """What stays as long as a model runs."""
    return data.StructLayout({
        "vector": VECTOR_BITS,  # chunks of a token's K, or V, in a layer
        "value_offset": shape.address_bits,  # from a K vector to the V vector of the same slot
        "bank_slots": slots(shape),  # tokens a bank holds; 0: nothing is kept
        "reuse": 1,  # a token that did not execute in the layer is read from an earlier one; else it is not visible
    })  # fmt: skip


def operation_layout(shape: KvShape) -> data.StructLayout:
    """KV_READ: the K, or the V, of all visible tokens in a layer."""
    return data.StructLayout({
        "executed": 1,  # a query of the block executes; else nothing is read
        "decode": 1,
        "value": 1,  # K or V
        "first_layer": 1,
        "has_next": 1,  # there is a next layer
        "row": index(shape.rows),  # of the bitmask
        "tokens": range(shape.tokens + 1),  # at least 1
        "layer_base": shape.address_bits,  # the layer's K vector in slot 0
        "offset": VECTOR_BITS, "chunks": VECTOR_BITS,  # part of each vector that is read
    })  # fmt: skip


def slots(shape: KvShape) -> range:
    """Shape of a number of tokens in a bank: K and V take a chunk each at least."""
    return index(shape.bank_chunks // 2 + 1)


def place_layout(shape: KvShape) -> data.StructLayout:
    """A token's place in the buffer: its bank, and the chunk its K begins at."""
    return data.StructLayout({"bank": index(shape.banks), "chunk": index(shape.bank_chunks)})


def source_layout(shape: KvShape) -> data.StructLayout:
    """A token to be placed: where it comes from, where it is kept, and its number in the sequence."""
    at = place_layout(shape)
    return data.StructLayout({
        "port": index(shape.ports), "from_buffer": 1, "head": at, "keep": 1, "tail": at, "number": index(shape.tokens)
    })  # fmt: skip


def round_layout(shape: KvShape) -> data.StructLayout:
    """The lanes of a round, what each bank does: where it reads, and what it keeps where; the token of each lane."""
    bank = data.StructLayout({
        "read": index(shape.bank_chunks), "keep": 1, "source": index(shape.lanes), "write": index(shape.bank_chunks),
    })  # fmt: skip
    banks, tokens = data.ArrayLayout(bank, shape.banks), data.ArrayLayout(index(shape.tokens), shape.lanes)
    return data.StructLayout({"mask": shape.lanes, "banks": banks, "tokens": tokens})


def update_layout(shape: KvShape) -> data.StructLayout:
    """What a bank keeps of a chunk that leaves: of which lane, written where."""
    return data.StructLayout({"keep": 1, "source": index(shape.lanes), "address": index(shape.bank_chunks)})


def output_layout(shape: KvShape) -> data.StructLayout:
    """A chunk of every lane of a round, and its token; ``last``: the round's last ones; ``end``: the operation's."""
    lanes, tokens = data.ArrayLayout(shape.chunk_bits, shape.lanes), data.ArrayLayout(index(shape.tokens), shape.lanes)
    return data.StructLayout({"data": lanes, "mask": shape.lanes, "last": 1, "end": 1, "tokens": tokens})


ANNOUNCEMENT = data.StructLayout({"end": 1})  # a round is formed, or all are
