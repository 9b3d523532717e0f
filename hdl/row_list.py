"""Row list: which rows of a row block execute, as a mask of bits and as a list."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from skipopu.hdl.kv_layout import index
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import Gate
from skipopu.spec.error import SpecError

MASKS = 2  # mask registers: one is read while the next row block is routed into the other
GATES = (Gate.ATTENTION, Gate.FFN)  # those with a router, in the order of their logits
READERS = ("operand", "result")  # who looks rows up: the operand side and the result side of the NPE

# what a reader asks, and finds in the same cycle
LOOKUP = Signature({
    "gate": Out(range(len(Gate))), "mask": Out(1), "position": Out(ROW_BITS), "row": In(ROW_BITS), "count": In(ROW_BITS)
})  # fmt: skip
COUNTS = data.ArrayLayout(ROW_BITS, MASKS)
GATE_LOOKUP = Signature({"mask": Out(1), "position": Out(ROW_BITS), "row": In(ROW_BITS), "count": In(ROW_BITS)})


class GateRows(Block):
    """Rows of a row block that one gate executes, in two mask registers.

    The memories are read combinationally: distributed RAM.

    Parameters
    ----------
    rows : of a row block, at most

    Ports
    -----
    start : in, the list of register ``mask`` becomes empty; before the row of the same cycle
    write, row, executes : in, a row of the block, its bit; if that is 1 the row joins the list of ``mask``
    mask : in, of ``start`` and ``write``
    operand, result : lookups: ``position`` in the list of a register → block row, and the list's length
    bit_mask, bit_row : in · found_bit : out, the row's bit in a register
    counts : out, length of the list of each register

    Timing
    ------
    ``start`` and ``write`` show from the next cycle on. Lookups are answered in the cycle they are asked. Positions
    from the length on hold rows of earlier operations, and so do bits of rows not written yet.
    """

    def __init__(self, *, rows: int) -> None:
        self._rows = rows
        self._bits = len(Signal(index(rows)))
        super().__init__({
            "start": In(1), "write": In(1), "mask": In(1), "row": In(ROW_BITS), "executes": In(1),
            **{reader: In(GATE_LOOKUP) for reader in READERS},
            "bit_mask": In(1), "bit_row": In(ROW_BITS), "found_bit": Out(1), "counts": Out(COUNTS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Two counts, a memory of rows, a memory of bits."""
        m = Module()
        counts = [Signal(range(self._rows + 1), name=f"count{mask}") for mask in range(MASKS)]
        place_in_list, appended = Signal.like(counts[0], name="next_place"), Signal(name="appended")
        m.d.comb += [place_in_list.eq(self._before(counts)), appended.eq(self.write & self.executes)]
        m.d.comb += [self.counts[mask].eq(count) for mask, count in enumerate(counts)]
        for mask, count in enumerate(counts):
            with m.If((self.start | self.write) & (self._register(self.mask) == mask)):
                m.d.sync += count.eq(place_in_list + appended)
        asked = [getattr(self, reader) for reader in READERS]
        addresses = [self._address(each.position, each.mask) for each in asked]
        write = (appended, self._address(place_in_list, self.mask), self._entry())
        rows = self._memory(m, "listed", self._bits, write, dict(zip(READERS, addresses, strict=True)))
        for each, row in zip(asked, rows, strict=True):
            m.d.comb += [each.row.eq(row), each.count.eq(Mux(self._register(each.mask), counts[1], counts[0]))]
        write = (self.write, self._address(self.row, self.mask), self.executes)
        bits = self._memory(m, "marked", 1, write, {"row": self._address(self.bit_row, self.bit_mask)})
        m.d.comb += self.found_bit.eq(bits[0])
        return m

    def _before(self, counts: list[Signal]) -> Value:
        """Length of the list before this cycle's row."""
        return Mux(self.start, 0, Mux(self._register(self.mask), counts[1], counts[0]))

    def _entry(self) -> Value:
        """What joins the list."""
        return self.row

    def _register(self, mask: Value) -> Value:
        """The register of this number."""
        return mask

    def _address(self, place_in_register: Value, mask: Value) -> Value:
        """A register takes as many words as rows, rounded up to a power of two."""
        return Cat(place_in_register[: self._bits], self._register(mask))

    def _memory(
        self, m: Module, name: str, width: int, write: tuple[Value, Value, Value], asked: dict[str, Value]
    ) -> list[Value]:
        """Both registers' words, written singly and read at the ``asked`` addresses in the same cycle."""
        m.submodules[name] = memory = Memory(shape=width, depth=MASKS << self._bits, init=[])
        port = memory.write_port()
        for signal, value in zip((port.en, port.addr, port.data), write, strict=True):
            m.d.comb += signal.eq(value)
        found = []
        for reader, address in asked.items():
            read = memory.read_port(domain="comb")
            m.d.comb += read.addr.eq(address)
            found.append(named(m, read.data, f"{name}_{reader}"))
        return found


class RowList(Block):
    """Executed rows of a row block, for two gates and two mask registers, looked up by their position in the list.

    Parameters
    ----------
    rows : of a row block, at most; 1 … 4096

    Ports
    -----
    start : in, the lists of ``gates`` in register ``mask`` become empty; ``rows`` : in, of the block that comes
    write, row, executes : in, a row of the block, and its bit for each gate of ``gates``, attention's lowest
    gates, mask : in, of ``start`` and ``write``; a gate that is not among ``gates`` keeps its list and its bits
    operand, result : lookups: ``gate``, ``mask``, ``position`` → ``row`` of the block and ``count`` of rows. Gate ALL
        has every row at its own position; its count is the ``rows`` of the register's last ``start``
    bit_mask, bit_row : in · row_bits : out, the row's bits in a register, attention's lowest
    counts : out, of each gate of `GATES`, executed rows of each register

    Timing
    ------
    As `GateRows`: changes show from the next cycle on, lookups are answered in the same cycle.

    Raises
    ------
    SpecError : ``rows`` out of range
    """

    def __init__(self, *, rows: int) -> None:
        most = 1 << ROW_BITS - 1  # a count of so many still fits
        if not 1 <= rows <= most:
            raise SpecError(f"dataflow.row_block = {rows}; the row list holds rows of one block; valid: 1..{most}")
        self._rows = rows
        super().__init__({
            "start": In(1), "write": In(1), "gates": In(len(GATES)), "mask": In(1), "rows": In(ROW_BITS),
            "row": In(ROW_BITS), "executes": In(len(GATES)), **{reader: In(LOOKUP) for reader in READERS},
            "bit_mask": In(1), "bit_row": In(ROW_BITS), "row_bits": Out(len(GATES)),
            "counts": Out(data.ArrayLayout(COUNTS, len(GATES))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The rows of each gate, and for gate ALL their number."""
        m = Module()
        lists = [self._gate(m, number, gate) for number, gate in enumerate(GATES)]
        rows = [Signal(ROW_BITS, name=f"rows{mask}") for mask in range(MASKS)]
        for mask, register in enumerate(rows):
            with m.If(self.start & (self.mask == mask)):
                m.d.sync += register.eq(self.rows)
        for reader in READERS:
            asked = getattr(self, reader)
            with m.Switch(asked.gate):
                with m.Case(Gate.ALL):
                    m.d.comb += [asked.row.eq(asked.position), asked.count.eq(Mux(asked.mask, rows[1], rows[0]))]
                for gate, found in zip(GATES, (getattr(each, reader) for each in lists), strict=True):
                    with m.Case(gate):
                        m.d.comb += [asked.row.eq(found.row), asked.count.eq(found.count)]
        return m

    def _gate(self, m: Module, number: int, gate: Gate) -> Any:
        """One gate's rows, wired to all but the readers' answers."""
        found = place(m, gate.name.lower(), GateRows(rows=self._rows))
        chosen = self.gates[number]
        m.d.comb += [
            found.start.eq(self.start & chosen), found.write.eq(self.write & chosen), found.mask.eq(self.mask),
            found.row.eq(self.row), found.executes.eq(self.executes[number]),
            found.bit_mask.eq(self.bit_mask), found.bit_row.eq(self.bit_row), self.row_bits[number].eq(found.found_bit),
            self.counts[number].eq(found.counts),
        ]  # fmt: skip
        for reader in READERS:
            asked, lookup = getattr(self, reader), getattr(found, reader)
            m.d.comb += [lookup.mask.eq(asked.mask), lookup.position.eq(asked.position)]
        return found
