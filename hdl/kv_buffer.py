"""KV buffer: streams the K or V of all visible tokens in rounds, from HBM and from the invariance buffer."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.kv_fetch import KvFetch
from skipopu.hdl.kv_lanes import KvLanes
from skipopu.hdl.kv_layout import ANNOUNCEMENT, index, kv_shape, operation_layout, output_layout, settings_layout
from skipopu.hdl.kv_rounds import KvRounds
from skipopu.hdl.kv_scheduler import KvScheduler
from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.verilog import Block, place
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay


class KvBuffer(Block):
    """KV buffer of an overlay (SkipOPU §4.4): scheduler, fetch, rounds, invariance buffer.

    A lane is a source of a round: HBM ports first, then the banks of the buffer. While a layer is read, tokens that the
    next layer reuses are kept in the buffer; the next layer reads them there, if its query executes.

    Parameters
    ----------
    overlay : sizes and latencies; map token_wise only

    Ports
    -----
    settings : in, steady while an operation runs
    operation : in, stream of KV_READ: K of a layer, then V of it, layer after layer
    done : out, the operation has ended
    scan_enable, scan_row, scan_token : out, to the bitmask
    scan_bits : in, the cycle after: executed in that layer, and in the next
    kv_request : out, a stream of bursts for each HBM port
    kv_chunk : in, a stream of chunks from each HBM port, in the order of the requests
    output : out, stream: a chunk of every lane in the mask, with the number of its token; ``last`` on the last chunks
        of a round, ``end`` on those of the operation
    announce : out, stream, of K whose query executes: an entry a round that is formed, one with ``end`` behind them.
        Who takes the output takes a round's entry before its chunks, but for the ``HALVES`` tiles that KER loads
        ahead, and the end before chunks of the next operation; a query that executes sees a token. So no more than
        ``shape.announcements`` wait, and nothing waits for them
    cause : out, what the cycle was for, as `skipopu.spec.ledger.Cause`

    Timing
    ------
    Operation taken in cycle t: token 0 is looked at in t + 2, then one a cycle. Chunks taken from the ports, or read
    from the banks, in cycle t stand at the output in t + read_stages. What is kept of them is written in the cycle
    after they were taken there. ``done`` in the cycle after all is over, the next operation in the one after that.
    A round formed in cycle t is announced from t + 1 on. The last chunk of a round leaves its source once it is known
    whether another round follows.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._shape = shape = kv_shape(overlay)
        request = stream.Signature(burst_layout(shape.ratio))
        super().__init__({
            "settings": In(settings_layout(shape)), "operation": In(stream.Signature(operation_layout(shape))),
            "done": Out(1), "scan_enable": Out(1), "scan_row": Out(index(shape.rows)),
            "scan_token": Out(index(shape.tokens)), "scan_bits": In(2),
            "kv_request": Out(request).array(shape.ports),
            "kv_chunk": In(stream.Signature(shape.chunk_bits)).array(shape.ports),
            "output": Out(stream.Signature(output_layout(shape))), "announce": Out(stream.Signature(ANNOUNCEMENT)),
            "cause": Out(index(len(Cause))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The blocks, and what an operation is."""
        m = Module()
        current = Signal(operation_layout(self._shape), name="current")
        start, save = Signal(name="start"), Signal(name="save")
        self._active = Signal(name="active")
        scheduler = place(m, "scheduler", KvScheduler(shape=self._shape))
        rounds = place(m, "rounds", KvRounds(shape=self._shape))
        lanes = place(m, "lanes", KvLanes(shape=self._shape))
        self._operation(m, current, start, save, scheduler, ~(start | scheduler.busy) & rounds.empty & lanes.empty)
        self._schedule(m, current, scheduler, rounds)
        self._fetch(m, current, scheduler, rounds)
        self._stream(m, current, rounds, lanes)
        self._announce(m, current, scheduler)
        self._cause(m, rounds, start | scheduler.busy)
        return m

    def _operation(self, m: Module, current: Any, start: Signal, save: Signal, scheduler: Any, over: Value) -> None:
        """Take an operation, end it; keep the state of the buffer from layer to layer."""
        active, taken = self._active, Signal(name="taken")
        valid, usable, phase = Signal(name="buffer_valid"), Signal(name="usable"), Signal(name="phase")
        new = self.operation.payload
        m.d.comb += [
            self.operation.ready.eq(~active), taken.eq(self.operation.valid & ~active), self.done.eq(active & over),
            save.eq(self.done & current.value & current.decode & current.executed),
            scheduler.start.eq(start), scheduler.operation.eq(current), scheduler.save.eq(save),
            scheduler.usable.eq(usable), scheduler.phase.eq(phase),
        ]  # fmt: skip
        m.d.sync += start.eq(taken & (new.executed | ~new.value))
        with m.If(taken):
            m.d.sync += [active.eq(1), current.eq(new), usable.eq(new.decode & valid & ~new.first_layer)]
        with m.If(self.done):
            m.d.sync += active.eq(0)
            with m.If(current.value):
                m.d.sync += [valid.eq(self._valid_after(save)), phase.eq(phase ^ save)]

    def _valid_after(self, save: Signal) -> Value:
        """The next layer finds what this one kept; a layer whose query skips attention leaves nothing."""
        return save & self.settings.bank_slots.any() & int(self._shape.banks > 0)

    def _schedule(self, m: Module, current: Any, scheduler: Any, rounds: Any) -> None:
        m.d.comb += [
            scheduler.settings.eq(self.settings), scheduler.scan_bits.eq(self.scan_bits),
            self.scan_enable.eq(scheduler.scan_enable), self.scan_row.eq(current.row),
            self.scan_token.eq(scheduler.scan_token),
            rounds.write.eq(scheduler.write), rounds.formed.eq(scheduler.formed), scheduler.rounds_full.eq(rounds.full),
            rounds.forming.eq(scheduler.busy),
        ]  # fmt: skip

    def _fetch(self, m: Module, current: Any, scheduler: Any, rounds: Any) -> None:
        """A fetch engine a port."""
        offset = Signal(self._shape.address_bits, name="fetch_offset")
        m.d.comb += offset.eq(current.offset + Mux(current.value, self.settings.value_offset, 0))
        for port in range(self._shape.ports):
            fetch = place(m, f"fetch{port}", KvFetch(shape=self._shape))
            connect(m, fetch.request, flipped(self.kv_request[port]))
            chunk = self.kv_chunk[port]
            m.d.comb += [
                fetch.write.eq(scheduler.fetch[port]), fetch.address.eq(scheduler.fetch_address),
                scheduler.fetch_full[port].eq(fetch.full), fetch.offset.eq(offset), fetch.chunks.eq(current.chunks),
                chunk.ready.eq(rounds.pop & rounds.mask[port]), fetch.popped.eq(chunk.ready),
            ]  # fmt: skip

    def _stream(self, m: Module, current: Any, rounds: Any, lanes: Any) -> None:
        """Chunks of the current round through the lanes to the output."""
        connect(m, lanes.output, flipped(self.output))
        m.d.comb += [
            rounds.value.eq(current.value), rounds.vector.eq(self.settings.vector), rounds.chunks.eq(current.chunks),
            rounds.enable.eq(lanes.enable),
            lanes.pop.eq(rounds.pop), lanes.mask.eq(rounds.mask), lanes.last.eq(rounds.last),
            lanes.end.eq(rounds.end), lanes.tokens.eq(rounds.tokens),
            lanes.read.eq(rounds.read), lanes.update.eq(rounds.update),
        ]  # fmt: skip
        for port in range(self._shape.ports):
            m.d.comb += [
                rounds.ready[port].eq(self.kv_chunk[port].valid), lanes.chunks[port].eq(self.kv_chunk[port].payload)
            ]  # fmt: skip

    def _announce(self, m: Module, current: Any, scheduler: Any) -> None:
        """Tell who asks for the query's rows that a round is formed, or that all are."""
        queue = place(m, "announcements", Fifo(bits=ANNOUNCEMENT.size, depth=self._shape.announcements))
        m.d.comb += [
            queue.write.eq((scheduler.write | scheduler.over) & self._told(current)),
            queue.write_data.eq(scheduler.over), queue.read.eq(self.announce.valid & self.announce.ready),
            self.announce.valid.eq(~queue.empty), self.announce.payload.eq(queue.head),
        ]  # fmt: skip

    def _told(self, current: Any) -> Value:
        """V goes the rounds of K, and where no query executes there are none."""
        told: Value = current.executed & ~current.value
        return told

    def _cause(self, m: Module, rounds: Any, forming: Value) -> None:
        """A round that is there waits for HBM, or for what follows it."""
        with m.If(self.operation.valid & self.operation.ready):
            m.d.comb += self.cause.eq(Cause.BUSY)
        with m.Elif(~self._active):
            m.d.comb += self.cause.eq(Cause.IDLE)
        with m.Elif(self.output.valid):
            m.d.comb += self.cause.eq(Mux(self.output.ready, Cause.BUSY, Cause.BACKPRESSURE))
        with m.Elif(~rounds.empty):
            m.d.comb += self.cause.eq(Mux(rounds.waits, Cause.KV, Cause.HBM))
        with m.Else():
            m.d.comb += self.cause.eq(Mux(forming, Cause.KV, Cause.DRAINING))
