"""Overlay: the whole processor, from AXI-Lite to HBM and DDR4."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import address_bits, connect_channels, port_channels
from skipopu.hdl.axi_lite import slave_ports
from skipopu.hdl.constants import Constants
from skipopu.hdl.control import Control
from skipopu.hdl.dma_control import DmaControl
from skipopu.hdl.engine import ENGINE_PORTS
from skipopu.hdl.frontend import Frontend
from skipopu.hdl.global_buffer import GlobalBuffer
from skipopu.hdl.kv_append import KvAppend
from skipopu.hdl.kv_control import KvControl
from skipopu.hdl.matrix_engine import MatrixEngine
from skipopu.hdl.memory_system import MemorySystem
from skipopu.hdl.performance_counters import PerformanceCounters
from skipopu.hdl.register_map import ADDRESS_BITS
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.transfer_engines import TransferEngines
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ENGINES
from skipopu.program.status import WATCHDOG_CYCLES, Memory
from skipopu.spec import ledger
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import DDR_CHANNELS
from skipopu.spec.overlay import Overlay as Specification

DMA, LOAD, STORE, KV_BUFFER, KV_APPEND, PE_ARRAY = range(len(ENGINES))
MATRIX_SETTINGS = ("rotary_words", "rotary_stride", "score_scale", "share", "epsilon")
RUN = ("running", "ended", "error", "status", "retired", "now", "lost")
TO_BUFFER = (("operand", "operand"), ("write_back", "write_back"), ("buffer_residual", "residual"),
             ("buffer_result", "result"))  # fmt: skip
CONSTANT_READS = (("gamma", "gamma"), ("beta", "beta"), ("constants_scale", "scale"), ("constants_bias", "bias"))


def check_row_lists(overlay: Specification) -> None:
    """Raise SpecError for an overlay with row lists for parts of modules, which no RTL keeps."""
    if overlay.bitmask.lists:
        raise SpecError(
            f"overlay {overlay.name}: bitmask.lists = {overlay.bitmask.lists}; row lists are in the simulator only;"
            " nearest: 0"
        )


class Overlay(Block):
    """The overlay processor (SkipOPU §4): a host writes a program into DDR4, sets registers and starts.

    Parameters
    ----------
    overlay : all of it · primitive : vendor primitives instead of behavioural DSPs
    watchdog : cycles without movement after which a program is given up

    Ports
    -----
    s_axi_* : AXI-Lite slave: registers of `register_map` · interrupt : out, level
    hbm : a port each, AXI3, HBM clock; port p addresses p · 256 MiB and up
    ddr : a channel each, AXI, core clock; ID 1 are instructions
    retire : out, stream of `RETIRED`: every instruction with its first and its last cycle
    causes : out, of each block of `ledger.Block`: what the cycle went to, as `ledger.Cause`
    running : out, a program runs: its cycle 0 is the first of them

    Timing
    ------
    That of the simulator, cycle by cycle: see the parts.
    """

    def __init__(self, *, overlay: Specification, primitive: bool = False, watchdog: int = WATCHDOG_CYCLES) -> None:
        check_row_lists(overlay)
        self._overlay, self._frontend = overlay, Frontend(overlay=overlay, watchdog=watchdog)
        self._memory, self._transfer = MemorySystem(overlay=overlay), TransferEngines(overlay=overlay)
        self._matrix = MatrixEngine(overlay=overlay, primitive=primitive)
        super().__init__({
            **slave_ports(ADDRESS_BITS), "interrupt": Out(1),
            "hbm": self._memory.signature.members["hbm"], "ddr": self._transfer.signature.members["ddr"],
            "retire": self._frontend.signature.members["retire_stream"],
            "causes": Out(data.ArrayLayout(CAUSE, len(ledger.Block))), "running": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The parts and the wires between them."""
        m, o = Module(), self._overlay
        frontend, memory = place(m, "frontend", self._frontend), place(m, "memory_system", self._memory)
        transfer, matrix = place(m, "transfer", self._transfer), place(m, "matrix", self._matrix)
        buffer = place(m, "global_buffer", GlobalBuffer(overlay=o))
        constants = place(m, "constants", Constants(overlay=o))
        append = place(m, "kv_append", KvAppend(overlay=o))
        control = self._control(m, frontend, memory, matrix)
        dma, kv = self._hbm_engines(m, memory, matrix)
        engines = {
            DMA: dma, LOAD: _Side(transfer, "load_"), STORE: _Side(transfer, "store_"), KV_BUFFER: kv,
            KV_APPEND: append, PE_ARRAY: matrix,
        }  # fmt: skip
        for number, engine in engines.items():
            self._queue(m, frontend, matrix, number, engine)
        self._append(m, memory, matrix, append, buffer, control)
        self._transfers(m, frontend, transfer, matrix, buffer, constants)
        self._matrix_memories(m, matrix, buffer, constants)
        self._streams(m, memory, matrix, constants)
        self._causes(m, frontend, engines, matrix)
        self._outside(m, frontend, memory, transfer)
        return m

    def _control(self, m: Module, frontend: Any, memory: Any, matrix: Any) -> Any:
        """The host's registers, the counters, and what the program needs of them."""
        control = place(m, "control", Control(overlay=self._overlay))
        counters = place(m, "counters", PerformanceCounters())
        m.d.comb += [
            *(getattr(control, name).eq(getattr(self, name)) for name, port in slave_ports(ADDRESS_BITS).items()
              if port.flow == In),
            *(getattr(self, name).eq(getattr(control, name)) for name, port in slave_ports(ADDRESS_BITS).items()
              if port.flow == Out),
            *(getattr(control, name).eq(getattr(frontend, name)) for name in RUN),
            *(getattr(matrix, name).eq(control.settings[name]) for name in MATRIX_SETTINGS),
            self.interrupt.eq(control.interrupt), frontend.start.eq(control.start),
            frontend.address.eq(control.program_address), frontend.count.eq(control.program_count),
            memory.kv_settings.eq(control.settings.kv), counters.start.eq(control.start),
            counters.running.eq(frontend.running), counters.block.eq(control.counter_block),
            counters.cause.eq(control.counter_cause), control.counter.eq(counters.found),
            *(counters.causes[block].eq(self.causes[block]) for block in ledger.Block),
        ]  # fmt: skip
        return control

    def _hbm_engines(self, m: Module, memory: Any, matrix: Any) -> tuple[Any, Any]:
        """LOAD_WEIGHTS and READ_KV."""
        dma = place(m, "dma_control", DmaControl(overlay=self._overlay))
        kv = place(m, "kv_control", KvControl(overlay=self._overlay))
        connect(m, dma.operation, memory.weight_operation)
        connect(m, kv.operation, memory.kv_operation)
        m.d.comb += [
            dma.done.eq(memory.weight_done), dma.word_valid.eq(memory.weights.valid),
            dma.word_ready.eq(memory.weights.ready), kv.done.eq(memory.kv_done), kv.kv_cause.eq(memory.kv_cause),
        ]  # fmt: skip
        return dma, kv

    def _queue(self, m: Module, frontend: Any, matrix: Any, number: int, engine: Any) -> None:
        """An engine and its queue; all but the PE array retire an instruction when they leave it."""
        members = engine.signature.members
        begun = engine.begun if "begun" in members else engine.running
        m.d.comb += [
            engine.head.eq(frontend.head[number]), engine.begins.eq(frontend.begins[number]),
            begun.eq(frontend.begun[number]), engine.blocked.eq(frontend.blocked[number]),
            frontend.leave[number].eq(engine.leave),
        ]  # fmt: skip
        if number == PE_ARRAY:
            m.d.comb += [
                matrix.record.eq(frontend.record[number]), matrix.now.eq(frontend.now),
                frontend.retire[number].eq(matrix.retire), frontend.retire_record[number].eq(matrix.retired),
            ]  # fmt: skip
            return
        rows = matrix.lists[number]
        m.d.comb += [
            frontend.retire[number].eq(engine.leave), frontend.retire_record[number].eq(frontend.record[number]),
            rows.gate.eq(engine.list_gate), rows.mask.eq(engine.list_mask), rows.rows.eq(frontend.head[number].rows),
            engine.executed.eq(rows.executed),
        ]  # fmt: skip

    def _append(self, m: Module, memory: Any, matrix: Any, append: Any, buffer: Any, control: Any) -> None:
        """K and V on their way to HBM, and the bitmask."""
        connect(m, append.write, memory.write)
        connect(m, append.read, buffer.append)
        m.d.comb += [
            append.restart.eq(control.start), append.writes_pending.eq(memory.writes_pending),
            matrix.bit_mask.eq(append.bit_mask), matrix.bit_row.eq(append.bit_row),
            append.row_bits.eq(matrix.row_bits),
            *(getattr(memory, f"mask_{name}").eq(getattr(append, f"mask_{name}"))
              for name in ("write", "row", "token", "bit")),
        ]  # fmt: skip

    def _transfers(
        self, m: Module, frontend: Any, transfer: Any, matrix: Any, buffer: Any, constants: Any
    ) -> None:
        """DDR4 to and from global buffer and constants; instructions."""
        connect(m, transfer.read, buffer.store)
        connect(m, transfer.tile, buffer.load)
        connect(m, transfer.constants, constants.write)
        connect(m, transfer.rotary, matrix.rotary)
        connect(m, frontend.burst, transfer.fetch)
        connect(m, transfer.fetch_words, frontend.words)
        m.d.comb += [
            matrix.stream_tile.eq(transfer.stream_tile), transfer.load_rounds.eq(matrix.rounds),
            transfer.store_rounds.eq(matrix.rounds),
        ]  # fmt: skip

    def _matrix_memories(self, m: Module, matrix: Any, buffer: Any, constants: Any) -> None:
        """Row tiles, results and constants of the matrix operations."""
        for mine, its in TO_BUFFER:
            connect(m, getattr(matrix, mine), getattr(buffer, its))
        for mine, its in CONSTANT_READS:
            if mine in matrix.signature.members:
                connect(m, getattr(matrix, mine), getattr(constants, its))
        m.d.comb += [
            buffer.reserve_result.eq(matrix.reserve_result), matrix.result_free.eq(buffer.result_free),
            buffer.reserve_write_back.eq(matrix.reserve_write_back),
            matrix.write_back_free.eq(buffer.write_back_free), constants.router_start.eq(matrix.router_start),
            constants.router_start_valid.eq(matrix.router_start_valid),
        ]  # fmt: skip

    def _streams(self, m: Module, memory: Any, matrix: Any, constants: Any) -> None:
        """What the PE array multiplies with."""
        connect(m, memory.weights, matrix.weights)
        connect(m, memory.kv_output, matrix.kv)
        connect(m, memory.kv_announce, matrix.announce)
        connect(m, constants.router_weights, matrix.constants)

    def _causes(self, m: Module, frontend: Any, engines: dict[int, Any], matrix: Any) -> None:
        """What the cycle of each block went to."""
        found = {ledger.Block.SEQUENCER: frontend.cause, ledger.Block.NPE: matrix.npe_cause}
        found |= {block: engines[number].cause for number, block in enumerate(ENGINES)}
        m.d.comb += [self.causes[block].eq(found[block]) for block in ledger.Block]

    def _outside(self, m: Module, frontend: Any, memory: Any, transfer: Any) -> None:
        """Memories, retirement, and whether anything moves."""
        channels = port_channels(address_bits(self._overlay.dma.hbm_ports))
        for outer, inner in zip(self.hbm, memory.hbm, strict=True):
            connect_channels(m, channels, outer, inner)
        for channel in range(DDR_CHANNELS):
            connect(m, transfer.ddr[channel], flipped(self.ddr[channel]))
        connect(m, frontend.retire_stream, flipped(self.retire))
        errors, busy = Signal(len(Memory), name="errors"), Signal(name="moves")
        m.d.comb += [
            errors[Memory.HBM].eq(memory.error), errors[Memory.DDR4].eq(transfer.error),
            busy.eq(transfer.moves | Cat(*(cause == ledger.Cause.BUSY for cause in self.causes)).any()),
            frontend.memory_error.eq(errors), frontend.moves.eq(busy), self.running.eq(frontend.running),
        ]  # fmt: skip


class _Side:
    """The ports of a block that begin with ``prefix``, under the rest of their names."""

    def __init__(self, block: Any, prefix: str) -> None:
        self._block, self._prefix = block, prefix
        self.signature = _Members(ENGINE_PORTS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, self._prefix + name)


class _Members:
    def __init__(self, members: Any) -> None:
        self.members = members
