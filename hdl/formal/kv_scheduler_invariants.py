"""Invariants of the KV scheduler: with them its claims are inductive."""

from skipopu.hdl.formal.kv_scheduler_follow import OPEN, WAITING, bits_of, count_of, keeps_of, lanes_of, sources_of
from skipopu.hdl.kv_layout import KvShape, index, place_layout, settings_layout
from skipopu.hdl.kv_token_table import token_layout


def invariants(shape: KvShape) -> tuple[str, ...]:
    """What holds in every cycle, beside the claims."""
    return (*_idle(shape), *_open_round(shape), *_scan(shape), *_mark(shape))


def power_on(shape: KvShape) -> tuple[str, ...]:
    """What holds before the reset, which clears no memory."""
    return ("!dut.scan__valid", *_memories(shape))


def queue(port: int) -> str:
    """The queue of a port."""
    return f"{WAITING}.queue{port}"


def capacity(shape: KvShape) -> str:
    """Tokens of the ring."""
    return f"{shape.banks} * (16'd0 + settings[{bits_of(settings_layout(shape)['bank_slots'])}])"


def _idle(shape: KvShape) -> list[str]:
    """What is not in use is empty."""
    stored = [f"{queue(p)}.stored <= {shape.queue_depth}" for p in range(shape.ports)]
    places = [f"{queue(p)}.{way}_place < {shape.queue_depth}" for p in range(shape.ports) for way in ("read", "write")]
    return [
        *stored, *places, "!(dut.scan__valid && dut.flushing)", "busy || (entries == 0 && stored == 0)", "!busy || ran",
        "!in_order || stored == 0", "in_order || entries == 0",
    ]  # fmt: skip


def _open_round(shape: KvShape) -> list[str]:
    taken, kept = count_of(lanes_of(f"{OPEN}.formed", shape)), keeps_of(f"{OPEN}.formed", shape)
    sources = zip(kept, sources_of(f"{OPEN}.formed", shape), strict=True)
    return [
        f"{OPEN}.count == entries && {taken} == entries && entries <= {shape.round_tokens}",
        f"{count_of(kept)} == keeps && keeps <= entries",
        *(f"!{keep} || ({source} < {shape.lanes} && {OPEN}.formed[{source}])" for keep, source in sources),
    ]


def _scan(shape: KvShape) -> list[str]:
    """Ports and banks are ones that there are."""
    ports, banks = shape.ports, shape.banks
    port = bits_of(token_layout(shape)["port"])
    rows = ["head_bank", "tail_bank", "saved_head_bank", "saved_tail_bank"] if banks else []
    ring = [f"dut.ring.saved_held <= {capacity(shape)}", *ring_places(shape, "dut.ring.saved_")] if banks else []
    return [
        *_memories(shape),
        f"dut.scan.next_port < {ports}", f"!dut.scan__valid || dut.scan.token_table.found[{port}] < {ports}",
        "!dut.scan__valid || dut.scan.token < tokens", f"!ran || (tokens != 0 && tokens <= {shape.tokens})",
        *(f"dut.ring.{row} < {banks}" for row in rows), *ring,
    ]  # fmt: skip


def _memories(shape: KvShape) -> list[str]:
    """Words of the token table name ports that there are, those that wait banks that there are."""
    port, bank = bits_of(token_layout(shape)["port"]), bits_of(place_layout(shape)["bank"], 1)
    words = [f"dut.scan.token_table.memory[{token}][{port}] < {shape.ports}" for token in range(shape.tokens)]
    waiting = [f"{queue(p)}.memory[{place}]" for p in range(shape.ports) for place in range(shape.queue_depth)]
    return [*words, *(f"{word}[{bank}] < {shape.banks}" for word in waiting if shape.banks)]


def _mark(shape: KvShape) -> list[str]:
    """Where the followed token is; how far the heads' turn has come; what is spent and what is to come."""
    ports = range(shape.ports)
    behind = [f"(!(waits && port_of_mark == {p}) || ahead < {queue(p)}.stored)" for p in ports]
    turns = [f"missed{p} <= ({WAITING}.turn + 8'd{2 * shape.ports - p - 1}) % 8'd{shape.ports}" for p in ports]
    return [
        "!ran || looked == (dut.scan__valid ? mark < dut.scan.token : mark < tokens)", "waits + open + given == puts",
        "puts == (looked & wanted)", "!wanted || looked", f"!waits || (!in_order && port_of_mark < {shape.ports})",
        *behind, f"!open || (in_order && lane < {shape.lanes} && {OPEN}.formed[lane])", *turns,
        f"{WAITING}.turn < {shape.ports}",
        f"!busy || spent + to_come <= most + (in_order ? 0 : {shape.ports - 1})",
    ]  # fmt: skip


def ring_places(shape: KvShape, ring: str) -> tuple[str, str]:
    """Claims of the ring's registers, ``ring`` what their names begin with: how they follow, where they are."""
    slots, vector = capacity(shape), f"(16'd0 + settings[{bits_of(settings_layout(shape)['vector'])}])"
    head, tail = (f"({shape.banks} * (16'd0 + {ring}{end}_slot) + {ring}{end}_bank)" for end in ("head", "tail"))
    after = f"({head} + {ring}held)"
    wraps = (1 << (index(shape.bank_chunks).stop - 1).bit_length()) - 1
    chunks = (f"{ring}{end}_chunk == ((2 * {ring}{end}_slot * {vector}) & {wraps})" for end in ("head", "tail"))
    order = f"{head} < {slots} && {tail} == ({after} >= {slots} ? {after} - {slots} : {after})"
    return f"{slots} == 0 || ({order})", " && ".join(chunks)
