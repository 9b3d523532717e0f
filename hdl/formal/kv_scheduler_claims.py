"""What is claimed of the KV scheduler: its queues, its rounds, every token once, no head forgotten, and an end."""

from skipopu.hdl.formal.kv_scheduler_follow import WAITING, bits_of, count_of, follow, keeps_of, lanes_of, sources_of
from skipopu.hdl.formal.kv_scheduler_invariants import capacity, invariants, power_on, queue, ring_places
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.kv_layout import KvShape, operation_layout, settings_layout
from skipopu.hdl.kv_scheduler import KvScheduler

MOST_SEARCHED = 2  # ports
READ = "a token that is read from the ring is in it"


def scheduler_bench(shape: KvShape) -> Bench:
    """Return the bench of a scheduler."""
    return Bench(
        name=_name(shape),
        block=KvScheduler(shape=shape), body=follow(shape), search=4 * shape.tokens + 4,
        claims=_queues(shape) | _rounds(shape) | _ring(shape) | _token() | _progress(shape),
        assumed=_assumed(shape), invariants=invariants(shape),
        power_on=power_on(shape), reached=_occurs(shape),
    )  # fmt: skip


def _name(shape: KvShape) -> str:
    return (
        f"KV scheduler, {shape.ports} HBM ports, {shape.banks} banks, {shape.round_tokens} tokens a round, queues of "
        f"{shape.queue_depth}, sequences up to {shape.tokens}, {'lock_step' if shape.lock_step else 'queues'}"
    )


def _queues(shape: KvShape) -> dict[str, str]:
    full = [f"({queue(p)}.write && {queue(p)}.stored == {shape.queue_depth})" for p in range(shape.ports)]
    empty = [f"({queue(p)}.read && {queue(p)}.stored == 0)" for p in range(shape.ports)]
    return {
        "no waiting queue overflows": f"!({' || '.join(full)})",
        "no waiting queue underflows": f"!({' || '.join(empty)})",
        "no fetch queue overflows; one is written at a time": "!(fetch & fetch_full) && !(fetch & (fetch - 1))",
        "the round queue does not overflow": "!(write && rounds_full)",
        "the end is told while it is busy, not with a round": "!over || (busy && !write)",
    }


def _rounds(shape: KvShape) -> dict[str, str]:
    taken, kept = count_of(lanes_of("formed", shape)), keeps_of("formed", shape)
    heads = " && ".join(f"formed[{p}] == queue_reads[{p}]" for p in range(shape.ports))
    sources = [
        f"(!{keep} || ({source} < {shape.lanes} && formed[{source}]))"
        for keep, source in zip(kept, sources_of("formed", shape), strict=True)
    ]
    return {
        "a round has a lane a token: never two of a port or of a bank":
            f"!write || (in_order ? {taken} == entries : {heads})",
        f"a round has 1 to {shape.round_tokens} tokens": f"!write || ({taken} != 0 && {taken} <= {shape.round_tokens})",
        "what a bank keeps is in the round": " && ".join([f"(!write || ({each}))" for each in sources] or ["1"]),
        "every token of the round that is to be kept has a bank of its own":
            f"!(write && in_order) || {count_of(kept)} == keeps",
        "a head that goes and is to be kept has a bank of its own": _kept_heads(shape),
    }  # fmt: skip


def _kept_heads(shape: KvShape) -> str:
    going = [f"(formed[{p}] & {WAITING}.head{p}[0])" for p in range(shape.ports)]
    return f"!(write && !in_order) || {count_of(keeps_of('formed', shape))} == {count_of(going if shape.banks else [])}"


def _ring(shape: KvShape) -> dict[str, str]:
    if not shape.banks:
        return {}
    follow_on, begin = ring_places(shape, "dut.ring.")
    return {
        "the ring never holds more than its capacity": f"dut.ring.held <= {capacity(shape)}",
        "its tail is so many places behind its head as it holds tokens": follow_on,
        "a place begins at chunk 2 · slot · vector of its bank": begin,
    }


def _token() -> dict[str, str]:
    return {
        "a token is in no more than one round": "given <= 1 && puts <= 1",
        "a token that leaves its queue or its round is in the round that is pushed": "!(leaves | closes) || write",
        "and in its lane": "!write || ((!leaves || formed[port_of_mark]) && (!closes || formed[lane]))",
        "at the end every visible token is in a round, no other":
            "!(ran && !busy) || (given == wanted && looked == (mark < tokens))",
    }  # fmt: skip


def _progress(shape: KvShape) -> dict[str, str]:
    ports = range(shape.ports)
    cycles = "2" if shape.lock_step else f"{shape.ports + 1} (2 in order)"
    served = " && ".join(f"missed{port} < {shape.ports}" for port in ports)
    return {
        f"a head that waits is given a round within {shape.ports} forms": served,
        f"after {cycles} · tokens + 1 cycles in which no queue is full all rounds are formed": "!ran || spent <= most",
    }


def _assumed(shape: KvShape) -> dict[str, str]:
    tokens = f"operation[{bits_of(operation_layout(shape)['tokens'])}]"
    slots = f"settings[{bits_of(settings_layout(shape)['bank_slots'])}]"
    of_ring = {
        f"a bank has {shape.bank_chunks // 2} slots at most": f"{slots} <= {shape.bank_chunks // 2}",
        READ: "!dut.ring.read || dut.ring.held != 0",
    }
    return {
        "an operation begins while none runs": "!start || !busy",
        f"1 to {shape.tokens} tokens": f"!start || ({tokens} != 0 && {tokens} <= {shape.tokens})",
        "operation, usable, phase are steady":
            "!busy || (operation == operation_run && usable == usable_run && phase == phase_run)",
        "settings are steady": "!settled || settings == settings_run",
        **(of_ring if shape.banks else {}),
    }  # fmt: skip


def _occurs(shape: KvShape) -> dict[str, str]:
    """Situations; not looked for where that takes minutes."""
    if shape.ports > MOST_SEARCHED:
        return {}
    queued = {
        "a queue is full": f"{queue(0)}.stored == {shape.queue_depth}", "the followed token leaves a queue": "leaves",
    }  # fmt: skip
    ring = {"a token is read from the ring": "dut.ring.read"}
    return {
        "an operation ends": "ran && !busy && given == 1", **({} if shape.lock_step else queued),
        **(ring if shape.banks else {}),
    }  # fmt: skip
