"""The state of the simulated overlay: one record a block, arrays for what is indexed, all in core cycles.

Blocks talk through these records only. Everything a block writes in a cycle for another to see in the next is
kept apart until `commit` (semaphores), or ordered consumer before producer (`reference.step`).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_schedule import Limits, Placement, Schedule, new_schedule
from skipopu.program.isa import ENGINES
from skipopu.program.program import Program
from skipopu.sim.ddr import new_ddr
from skipopu.sim.dram import Dram
from skipopu.sim.hbm import new_hbm
from skipopu.sim.work import Work
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block, Cause, NpeWork, Part, Phase, Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_CHANNELS, IN_FLIGHT, Overlay

MAX_PORTS = 64  # bound of dma.hbm_ports
MAX_QUEUE = 64  # bound of sequencer.queue_depth
HISTORY = 16  # cycles of arrival counts kept for the clock crossing; bound of dma.crossing_stages + 1
OUTSTANDING = 64  # bound of dma.read_bursts and dma.write_bursts
MOST_BURSTS = 64  # bound of dma.ddr_read_bursts and dma.ddr_write_bursts
BEATS_WAITING = MOST_BURSTS * AXI3_BURST_BEATS
MAX_ROWS = 8192  # bound of ifm.rows
MAX_STATISTICS = 4096  # bound of npe.statistics_rows and of the rows of a block
WRITES_AHEAD = 512  # cycles of the global buffer's write port that can be reserved; bound of both latencies of the NPE
TILES_AHEAD = 32  # row tiles that kv_append has asked for and not written; bound of overlay.append_tiles
ANNOUNCED = 128  # rounds formed and not yet asked for; bound of the RTL's FIFO

Record = Any  # a NumPy record; Numba reads and writes its fields by name

PARAMETERS = [
    "ports", "hbm_ratio", "chunk_bytes", "burst_chunks", "weight_chunks", "kv_chunks", "crossing_stages",
    "request_ticks", "read_bursts", "write_bursts",
    "ddr_channels", "ddr_ticks", "ddr_cycles", "ddr_beats", "ddr_read_bursts", "ddr_write_bursts",
    "tile_bytes",
    "read_ports", "read_stages", "operand_latency", "result_latency", "ifm_rows", "broadcast_stages", "pe_latency",
    "router_weights_latency", "queue_depth", "fetch_instructions", "dispatch_stages",
    "pair_bytes", "vector_bytes", "stride_bytes", "kv_base", "slots", "spread",
    "kv_queue_depth", "round_queue", "kv_read_stages", "append_tiles",
    "program_address", "watchdog", "window_cycles",
]  # fmt: skip

ENGINES_STATE = [  # each [engine]
    ("queue", "i8", (len(ENGINES), MAX_QUEUE)),  # instruction indices
    ("ready", "i8", (len(ENGINES), MAX_QUEUE)),  # cycle in which the entry has passed dispatch
    ("head", "i8", (len(ENGINES),)),
    ("tail", "i8", (len(ENGINES),)),
    ("left", "i8", (len(ENGINES),)),  # cycle in which an entry last left
    ("running", "i8", (len(ENGINES),)),  # 1 from the cycle in which the semaphores are met
    ("seen", "i8", (len(ENGINES),)),  # 1 once the head's issue cycle is noted
    ("blocked", "i8", (len(ENGINES),)),  # 1 when the head waits for a semaphore in this cycle
    ("semaphore", "i8", (len(ENGINES), len(ENGINES))),  # [from engine, to engine]
    ("given", "i8", (len(ENGINES), len(ENGINES))),  # signals of this cycle
    ("signalled", "i8"),  # 1 if there are any
]
COUNTS = [
    ("ledger", "i8", (len(Phase), len(Block), len(Cause))),
    ("parts", "i8", (len(Phase), len(Part), len(Cause))),  # the PE array's row of it, by the instruction that waits
    ("traffic", "i8", (len(Phase), len(Traffic))),
    ("buffer_bytes", "i8", (len(Phase),)),
    ("npe", "i8", (len(NpeWork),)),
    ("window", "i8", (len(Traffic),)),  # bytes since the last multiple of window_cycles
]
SEQUENCER = [
    "next", "requested", "fetched_beats", "halted", "cause",
    "waits",  # 1: the next instruction's input has not arrived
    ("history", "i8", (HISTORY,)),  # beats fetched, now and in the cycles before
]  # fmt: skip
DMA = [
    "chunk_bytes", "popped", "cause", "beats", "active",
    "goal",  # chunks to ask of every port, all operations so far
    "address",  # byte address of the running operation, less that of the goal before it
    "credit",  # chunk sets popped before this cycle
    "behind",  # chunks asked of the port that is furthest behind
    ("requested", "i8", (MAX_PORTS,)),  # chunks asked of each port so far, all instructions
]  # fmt: skip
PORTS = [  # counts are cumulative
    ("beats", "i8", (MAX_PORTS,)),  # arrived by the last but one tick of the cycle: weights, K/V above them
    ("carry", "i8", (MAX_PORTS,)),  # arrived in its last tick
    ("weight_history", "i8", (HISTORY,)),  # now and in the cycles before
    ("kv_history", "i8", (HISTORY, MAX_PORTS)),
    ("asked", "i8", (MAX_PORTS,)),  # cycle in which a read burst was last accepted
    ("reads", "i8", (MAX_PORTS,)),  # read bursts accepted, completed
    ("completed", "i8", (MAX_PORTS,)),
    ("read_seen", "i8", (MAX_PORTS, OUTSTANDING)),  # cycle from which the core knows of the burst's completion
    ("writes", "i8", (MAX_PORTS,)),
    ("acknowledged", "i8", (MAX_PORTS,)),
    ("write_seen", "i8", (MAX_PORTS, OUTSTANDING)),
    "unacknowledged",  # write bursts of all ports
    "last_response",  # cycle from which the core knows of all responses so far
]  # fmt: skip
LOAD = [
    "beats", "left", "gear", "requested", "popped", "tiles", "cause",
    ("channel_beats", "i8", (DDR_CHANNELS,)),
    ("history", "i8", (HISTORY,)),
]  # fmt: skip
STORE = [
    "tiles", "beats", "pushed_beats", "cause",
    "first_tile", "first_beat",  # tiles read, beats sent before this transfer
    ("read_history", "i8", (HISTORY,)),  # tiles asked of the global buffer so far, now and in the cycles before
]  # fmt: skip
DDR_PORTS = [  # counts are cumulative
    ("waiting", "i8", (DDR_CHANNELS, BEATS_WAITING)),  # beats delivered by the DRAM and not yet given: tag · 2 + last
    ("delivered", "i8", (DDR_CHANNELS,)),
    ("given", "i8", (DDR_CHANNELS,)),  # through the R channel
    ("asked", "i8", (DDR_CHANNELS,)),  # cycle in which a read burst was last asked for
    ("reads", "i8", (DDR_CHANNELS,)),  # read bursts asked for, ended, known to have ended
    ("reads_ended", "i8", (DDR_CHANNELS,)),
    ("reads_known", "i8", (DDR_CHANNELS,)),
    "writes", "write_beats", "sent_beats",  # of each channel: bursts and beats asked for, beats sent
    ("ends", "i8", (MOST_BURSTS,)),  # beats asked for with each burst
    ("answered", "i8", (DDR_CHANNELS,)),  # write bursts acknowledged, known to be
    ("writes_known", "i8", (DDR_CHANNELS,)),
]  # fmt: skip
KV = [
    "active", "executed", "decode", "valid", "value", "layer", "offset", "chunks", "cause",
    "scan_from",  # cycle in which the scheduler looks at its first token
    "scheduled",  # 1: all rounds are formed, as known from the cycle before
    "current",  # round of which chunks are taken
    "chunk",
    "pipeline",  # bit n: a chunk of every source stands behind stage n of the bank's read
    "taken",  # 1: KER takes the chunks at the output in this cycle
    "ends",  # 1: the last chunks of the operation have left their sources
    "announced_head", "announced_tail",  # of the ring of rounds that IFM has not been told of
    ("announced_end", "i8", (ANNOUNCED,)),  # 1: all rounds of an operation are formed
    "pushed",  # port into whose fetch queue the scheduler put a token in this cycle, −1
    "filling",  # interleaved map: round that is gathered
    ("part_chunks", "i8", (MAX_PORTS,)),  # interleaved map: what each port has of the part of a vector that is read
    ("part_offset", "i8", (MAX_PORTS,)),  # and its bytes from the beginning of the vector there
    ("gathered", "i8", (MAX_PORTS,)),  # interleaved map: its chunks taken from each port
    ("tail", "i8", (MAX_PORTS,)),  # entries put into each port's fetch queue
    ("head", "i8", (MAX_PORTS,)),  # entries of it requested
    ("byte", "i8", (MAX_PORTS,)),  # bytes of the next one requested
    ("requested", "i8", (MAX_PORTS,)),  # chunks
    ("wanted", "i8", (MAX_PORTS,)),  # chunks, with the next burst, if that was found to have no room
    ("popped", "i8", (MAX_PORTS,)),  # chunks
]  # fmt: skip
APPEND = [
    "layer", "value", "first", "end",  # the operation, and the tokens of its block
    "tiles", "asked",  # row tiles to be read; asked of the global buffer
    "chunks", "pushed",  # to be written; given to the ports
    "row", "group",  # token and piece of the vectors that is written
    "sent",  # bytes of it
    "marks",  # bits of the bitmask still to be written
    "cause",
    ("usable", "i8", (TILES_AHEAD,)),  # [tile modulo TILES_AHEAD]: cycle from which it can be written
]  # fmt: skip
PE = [
    "instruction", "source",  # the operation, and where its tiles come from
    "tiles", "depth", "rows", "dynamic",  # its loop bounds; 1: tiles are those of a K/V round, as many as announced
    "began",  # cycle in which it was taken
    "tile", "row", "ended", "cause", "stream_tiles",
    "lane_taken",  # 1: a tile passes the operand lanes
    "part",  # Part of the instruction that is at work or the next to be
    "following",  # of the one after it
]  # fmt: skip
BUFFER = [
    "reads",  # tiles read in this cycle
    ("reserved", "i8", (WRITES_AHEAD,)),  # [cycle modulo WRITES_AHEAD]: 1: a tile or a part of one is written in it
]  # fmt: skip
# Ping-pong halves n & 1 have the first cycle in which they can be read or written.
KER = [
    "loaded", "over",  # tiles; 1: with the operation's last
    "gear",  # bytes taken and not yet part of a whole tile
    "used",  # bytes, of the chunk or constants at the stream's output, that are in tiles
    ("writable", "i8", (2,)),
]  # fmt: skip
IFM = [
    "requested", "issued", "cause",  # rows of the operation
    "announced", "ended",  # 1: a K/V round may be asked for; 1: no round follows
    "written",  # first cycle in which all tiles that were normalised on their way can be read again
    ("readable", "i8", (MAX_ROWS,)),  # [row]: first cycle in which it stands at the output
    ("taken", "i8", (MAX_STATISTICS,)),  # [statistics row]: cycle in which a tile of it was last asked for
]  # fmt: skip
PSUM = [
    "head", "tail",  # column blocks that have left, that are closed
    ("readable", "i8", (2,)), ("writable", "i8", (2,)),
    ("slots", "i8", (2,)),  # entries still to leave
    ("last", "i8", (2,)),  # 1: the operation's last block
    ("operation", "i8", (2,)),  # instruction
]  # fmt: skip
NPE = [
    "cause", "flight_head", "flight_tail",
    "slot",  # of a row's entries, the next to be taken
    "full",  # 1: a pair of entries stands there and leaves word by word
    "word", "words", "final",  # of the pair: next word, words, 1 if it is its row's last pair
    "operation", "last",  # of the pair: instruction, 1 if it is that one's last pair
    "row", "block", "first",  # of the pair: row of the block, block of the K/V round, first statistics row of the block
    ("taken", "i8", (MAX_STATISTICS,)),  # [statistics row]: cycle in which a word of it was last sent
    ("flight", "i8", (IN_FLIGHT,)),  # instruction
    ("finish", "i8", (IN_FLIGHT,)),  # its last cycle, FAR while unknown
]  # fmt: skip
TOTAL = [
    "now", "phase", "progress", "retired", "left_of_prefill", "prefill_cycles",
    "ddr_now", "hbm_wake", "kv_cycles",
]  # fmt: skip

FAR = 1 << 60


def record(fields: list[Any]) -> Record:
    """Allocate a zeroed record; a bare name is a 64-bit integer."""
    plain = np.dtype([(f, "i8") if isinstance(f, str) else f for f in fields], align=True)
    return np.zeros(1, np.dtype((np.record, plain)))[0]


class KvCache(NamedTuple):
    """Where K/V lie and the schedule that is running; apart from Machine because few blocks look at it."""

    limits: Limits
    placement: Placement
    schedule: Schedule
    fetch: NDArray[np.int32]  # [port, n]: tokens put into the port's fetch queue in this pass


class Machine(NamedTuple):
    """What the blocks share: records, the program, the memories. Small: every call passes it by value."""

    p: Record
    work: Work
    engines: Record
    sequencer: Record
    ports: Record
    dma: Record
    load: Record
    store: Record
    ddr_ports: Record
    kv: Record
    append: Record
    buffer: Record
    pe: Record
    ker: Record
    ifm: Record
    psum: Record
    npe: Record
    total: Record
    counts: Record
    hbm: Dram
    ddr: Dram


def new_machine(program: Program, work: Work, overlay: Overlay, board: Board, watchdog: int, window: int) -> Machine:
    """Return the overlay at cycle 0 with nothing dispatched."""
    kv, pe, ifm, npe, total = (record(fields) for fields in (KV, PE, IFM, NPE, TOTAL))
    pe.instruction = kv.pushed = -1
    npe.finish[:] = FAR
    npe.taken[:] = ifm.taken[:] = -FAR
    pe.following = first_part(program, work)
    ports, dma = new_ports(overlay)
    total.left_of_prefill = int((work.phase == Phase.PREFILL).sum())
    return Machine(
        p=_parameters(program, overlay, board, watchdog, window), work=work, engines=record(ENGINES_STATE),
        sequencer=record(SEQUENCER), ports=ports, dma=dma, load=record(LOAD),
        store=record(STORE), ddr_ports=new_ddr_ports(),
        kv=kv, append=record(APPEND), buffer=record(BUFFER), pe=pe, ker=record(KER), ifm=ifm,
        psum=record(PSUM), npe=npe, total=total, counts=record(COUNTS),
        hbm=new_hbm(board, overlay.dma.hbm_ports), ddr=new_ddr(board),
    )  # fmt: skip


def first_part(program: Program, work: Work) -> int:
    """Part of the PE array's first instruction."""
    mine = np.flatnonzero(work.engine == ENGINES.index(Block.PE_ARRAY))
    return int(program.parts[mine[0]]) if mine.size else int(Part.OUTSIDE)


def new_ports(overlay: Overlay) -> tuple[Record, Record]:
    """Return the records PORTS and DMA of idle HBM ports."""
    ports, dma = record(PORTS), record(DMA)
    ports.asked[:] = -1
    dma.chunk_bytes = overlay.chunk_bytes
    return ports, dma


def new_ddr_ports() -> Record:
    """Return idle ports of all DDR4 channels."""
    ports = record(DDR_PORTS)
    ports.asked[:] = -1
    return ports


def new_kv_cache(program: Program) -> KvCache:
    """Return the K/V cache of a program with nothing scheduled and an empty invariance buffer."""
    c, tokens = program.context, program.context.placement.source.shape[1]
    entries = np.zeros((c.limits.ports, tokens), np.int32)
    return KvCache(c.limits, c.placement, new_schedule(tokens, c.limits), entries)


def overlay_parameters(overlay: Overlay) -> Record:
    """Return the record PARAMETERS with what the overlay alone says; a program's part is zero."""
    found = record(PARAMETERS)
    d, b, s = overlay.dma, overlay.kv_buffer, overlay.sequencer
    values = {
        "ports": d.hbm_ports, "hbm_ratio": overlay.clock.hbm_ratio, "chunk_bytes": overlay.chunk_bytes,
        "burst_chunks": overlay.hbm_burst_chunks, "weight_chunks": d.weight_chunks, "kv_chunks": d.kv_chunks,
        "crossing_stages": d.crossing_stages, "request_ticks": d.request_ticks,
        "read_bursts": d.read_bursts, "write_bursts": d.write_bursts, "ddr_beats": d.ddr_beats,
        "ddr_read_bursts": d.ddr_read_bursts, "ddr_write_bursts": d.ddr_write_bursts,
        "tile_bytes": overlay.tile_bytes, "read_ports": overlay.global_buffer.read_ports,
        "read_stages": overlay.global_buffer.read_stages, "operand_latency": overlay.npe.operand_latency,
        "result_latency": overlay.result_latency, "ifm_rows": overlay.ifm.rows,
        "broadcast_stages": overlay.pe_array.broadcast_stages, "pe_latency": overlay.pe_latency,
        "router_weights_latency": overlay.router_weights_latency,
        "queue_depth": s.queue_depth, "fetch_instructions": s.fetch_instructions,
        "dispatch_stages": s.dispatch_stages, "kv_queue_depth": b.queue_depth, "round_queue": b.round_queue,
        "kv_read_stages": b.read_stages, "append_tiles": overlay.append_tiles, "spread": b.map == "interleaved",
    }  # fmt: skip
    for name, value in values.items():
        found[name] = value
    return found


def _parameters(program: Program, overlay: Overlay, board: Board, watchdog: int, window: int) -> Record:
    ratio = board.ddr.axi_mhz / overlay.clock.core_mhz
    ticks, cycles = ratio.as_integer_ratio() if ratio == int(ratio) else _fraction(board.ddr.axi_mhz, overlay)
    memory = program.context.memory
    values: dict[str, int] = {
        "ddr_channels": board.ddr.channels, "ddr_ticks": ticks, "ddr_cycles": cycles,
        "vector_bytes": memory.vector_bytes, "stride_bytes": memory.stride_bytes,
        "pair_bytes": memory.vector_bytes // (program.context.shape.dimensions.kv_heads // 2),
        "kv_base": memory.kv_base, "slots": memory.slots, "program_address": memory.ddr["program"],
        "watchdog": watchdog, "window_cycles": window,
    }  # fmt: skip
    found = overlay_parameters(overlay)
    for name, value in values.items():
        found[name] = value
    return found


def _fraction(ddr_mhz: int, overlay: Overlay) -> tuple[int, int]:
    from fractions import Fraction

    ratio = Fraction(ddr_mhz) / Fraction(overlay.clock.core_mhz).limit_denominator(1000)
    return ratio.numerator, ratio.denominator
