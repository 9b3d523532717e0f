"""The core side of the DMA's model: what moves in a core cycle, as bits of its trace."""

from skipopu.hdl.cosim.axi_memory_state import AR, AW
from skipopu.hdl.cosim.dma_model_axi import ask
from skipopu.hdl.cosim.dma_model_state import DmaModel
from skipopu.hdl.cosim.dma_trace import DONE, KV_CHUNK, KV_REQUEST, KV_VALID, OPERATION, STREAMS, WEIGHTS_VALID, WRITE
from skipopu.hdl.cosim.dma_trace import WEIGHTS as WEIGHTS_MOVE
from skipopu.numerics.jit import jit
from skipopu.sim.dma import begin_weights, weight_address, weight_burst, weights_asked
from skipopu.sim.hbm_port import KV, WEIGHTS, accept_read, accept_write, can_read, can_write, kv_chunks, weight_chunks

OPERATION_STREAM, WRITE_STREAM, WEIGHTS_STREAM = range(len(STREAMS))


@jit
def pop_weights(m: DmaModel, now: int, at: int) -> int:
    """Take a word."""
    if weight_chunks(m.ports, m.p, now) <= m.dma.popped:
        return 0
    moves = m.stalls[WEIGHTS_STREAM, at] != 0
    m.dma.popped += moves
    return 1 << WEIGHTS_VALID | moves << WEIGHTS_MOVE  # type: ignore[no-any-return]


@jit
def kv_port(m: DmaModel, port: int, now: int, at: int) -> int:
    """Take a chunk, ask for a burst."""
    line, found = m.lines[port], 0
    streams = len(STREAMS) + port
    if kv_chunks(m.ports, m.p, port, now) > line.kv_popped:
        moves = m.stalls[streams + m.p.ports, at] != 0
        line.kv_popped += moves
        found = 1 << KV_VALID | moves << KV_CHUNK
    if line.kv_next == m.kv_count[port]:
        return found
    address, chunks = m.kv[port, line.kv_next, 0], m.kv[port, line.kv_next, 1]
    room = line.kv_requested + chunks - line.kv_credit <= m.p.kv_chunks
    line.kv_offered |= room and m.stalls[streams, at] != 0
    if line.kv_offered and can_read(m.ports, m.p, port, now):
        accept_read(m.ports, port, now)
        ask(m, port, AR, now, address * m.p.chunk_bytes, chunks, KV)
        line.kv_requested += chunks
        line.kv_next += 1
        line.kv_offered = 0
        found |= 1 << KV_REQUEST
    return found


@jit
def weight_engine(m: DmaModel, now: int, at: int) -> int:
    """Take an operation, or ask every port for the next burst."""
    c, d, p = m.core, m.dma, m.p
    c.operation_offered |= m.stalls[OPERATION_STREAM, at] != 0 and c.operation < len(m.operations)
    if not d.active:
        if not c.operation_offered:
            return 0
        c.operation_offered = 0
        begin_weights(d, m.operations[c.operation, 0] * p.chunk_bytes, m.operations[c.operation, 1])
        c.operation += 1
        return 1 << OPERATION
    for port in range(p.ports):
        chunks = weight_burst(d, p, d.requested[port])
        if chunks > 0 and can_read(m.ports, p, port, now):
            accept_read(m.ports, port, now)
            ask(m, port, AR, now, weight_address(d, d.requested[port]), chunks, WEIGHTS)
            d.requested[port] += chunks
    d.active = not weights_asked(d, p)
    return 0 if d.active else 1 << DONE


@jit
def take_write(m: DmaModel, now: int, at: int) -> int:
    """Take a chunk to write; the last of a burst sends it."""
    c = m.core
    c.write_offered |= m.stalls[WRITE_STREAM, at] != 0 and c.write < len(m.writes)
    if not c.write_offered:
        return 0
    chunk = m.writes[c.write]
    port = chunk[0]
    if not can_write(m.ports, m.p, port, now):
        return 0
    c.write_offered = 0
    c.write += 1
    if chunk[1]:
        accept_write(m.ports, port)
        ask(m, port, AW, now, chunk[2] * m.p.chunk_bytes, chunk[3], 0)
    return 1 << WRITE
