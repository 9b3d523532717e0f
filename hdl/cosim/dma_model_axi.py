"""The AXI side of the DMA's model: requests on their way to the memory, data beside them, what comes back."""

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.cosim.axi_memory import serve
from skipopu.hdl.cosim.axi_memory_state import AR, AW, WORDS
from skipopu.hdl.cosim.dma_model_state import RING, DmaModel
from skipopu.numerics.jit import jit
from skipopu.sim.hbm_port import WEIGHTS, request_tick, take_beat, take_response


@jit
def ask(m: DmaModel, port: int, channel: int, now: int, address: int, chunks: int, identifier: int) -> None:
    """Send a burst that was accepted in core cycle ``now``; ``address`` in bytes within the port."""
    line = m.lines[port]
    slot = line.tail[channel] % RING
    line.tail[channel] += 1
    line.due[channel, slot] = request_tick(m.p, now)
    line.address[channel, slot] = port << PORT_ADDRESS_BITS | address
    line.beats[channel, slot] = chunks * m.p.hbm_ratio
    line.ID[channel, slot] = identifier


@jit
def axi_tick(m: DmaModel, now: int) -> None:
    """One tick of all ports."""
    for port in range(m.p.ports):
        _stand(m, port, AR, now)
        _stand(m, port, AW, now)
        _send(m, port)
    serve(m.memory, now)
    for port in range(m.p.ports):
        _receive(m, port, now)


@jit
def _stand(m: DmaModel, port: int, channel: int, now: int) -> None:
    """The oldest request stands at its channel from its tick on."""
    line, c = m.lines[port], m.memory.ports[port]
    slot = line.head[channel] % RING
    c.valid[channel] = line.head[channel] < line.tail[channel] and line.due[channel, slot] <= now
    if c.valid[channel]:
        c.address[channel], c.beats[channel] = line.address[channel, slot], line.beats[channel, slot]
        c.ID[channel] = line.ID[channel, slot]


@jit
def _send(m: DmaModel, port: int) -> None:
    """W: the next beat of the oldest burst not sent, from the tick on in which its AW stands there."""
    line, c = m.lines[port], m.memory.ports[port]
    slot = line.w_burst % RING
    c.w_valid = line.w_burst < line.head[AW] or (line.w_burst == line.head[AW] and c.valid[AW] != 0)
    if c.w_valid:
        c.w_last = line.w_beat == line.beats[AW, slot] - 1
        for place in range(WORDS):
            c.w_data[place] = m.write_beats[port, line.w_sent, place]


@jit
def _receive(m: DmaModel, port: int, now: int) -> None:
    """Hand on what was taken and what came in this tick."""
    line, c = m.lines[port], m.memory.ports[port]
    for channel in range(2):
        line.head[channel] += c.valid[channel] & c.ready[channel]
    if c.w_valid & c.w_ready:
        line.w_sent += 1
        line.w_beat = 0 if c.w_last else line.w_beat + 1
        line.w_burst += c.w_last
    if c.r_valid:
        _store(m, port)
        take_beat(m.ports, m.p, port, now, c.r_ID * 2 + c.r_last)
    if c.b_valid:
        take_response(m.ports, m.p, port, now)


@jit
def _store(m: DmaModel, port: int) -> None:
    line, c = m.lines[port], m.memory.ports[port]
    data = m.weights if c.r_ID == WEIGHTS else m.chunks
    for place in range(WORDS):
        data[port, line.r_beats[c.r_ID], place] = c.r_data[place]
    line.r_beats[c.r_ID] += 1
