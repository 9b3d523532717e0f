"""Router weights: the part of the constants that the PE array multiplies, as a stream into KER."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.constants_memory import HALVES, WRITE_BYTES, constants_write
from skipopu.hdl.kv_layout import index
from skipopu.hdl.pipeline import named
from skipopu.hdl.verilog import Block
from skipopu.spec.overlay import DDR_BEAT_BYTES

WORD_BITS = 16  # words of a stream


def router_start(half_bytes: int) -> data.StructLayout:
    """Where the weights begin, ``address`` in 64-byte words of the half, and how many words of the stream they are."""
    return data.StructLayout({"half": 1, "address": index(half_bytes // DDR_BEAT_BYTES), "words": WORD_BITS})


class RouterWeights(Block):
    """Block RAM of both halves, read from any 64-byte word on, ``read_bytes`` a cycle.

    A row goes over several banks of 64 bytes, or of a whole word where that is narrower; a word that begins within a
    row takes its end from the next one.

    Parameters
    ----------
    half_bytes : of a half, rounded up to whole rows
    read_bytes : of a word, a power of two
    read_stages : cycles of a read

    Ports
    -----
    write : in, `constants_write`
    start, start_valid (1) : in, `router_start`: read these words; not before the last word of the stream is taken
    weights : out, stream of words, the lowest address lowest

    Timing
    ------
    The first word stands ``read_stages`` cycles after ``start``; a word a cycle.
    """

    def __init__(self, *, half_bytes: int, read_bytes: int, read_stages: int) -> None:
        self._unit = min(read_bytes, DDR_BEAT_BYTES)
        self._units = read_bytes // self._unit  # of a word
        self._banks = max(read_bytes, WRITE_BYTES) // self._unit
        self._rows = 1 << (-(-half_bytes // (self._banks * self._unit)) - 1).bit_length()
        self._stages = read_stages
        self._address = (HALVES * self._rows * self._banks - 1).bit_length()  # of a unit in both halves
        super().__init__({
            "write": In(constants_write(half_bytes)), "start": In(router_start(half_bytes)), "start_valid": In(1),
            "weights": Out(stream.Signature(read_bytes * 8)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Addresses, banks, turned words, registers: all of it stands still while the last one does."""
        m = Module()
        moves = named(m, ~self.weights.valid | self.weights.ready, "moves")
        address, goes = self._count(m, moves)
        phase = Signal(range(self._banks), name="phase", reset_less=True)
        with m.If(moves):
            m.d.sync += phase.eq(address)
        found = self._turned(Cat(*self._read(m, address, moves)), phase)
        valid = goes
        for stage in range(1, self._stages + 1):
            valid = self._register(m, valid, moves, f"valid_{stage}")
            found = self._register(m, found, moves, f"word_{stage}") if stage > 1 else found
        m.d.comb += [self.weights.valid.eq(valid), self.weights.payload.eq(found)]
        return m

    def _register(self, m: Module, value: Value, moves: Value, name: str) -> Signal:
        register = Signal(len(value), name=name, reset_less=len(value) > 1)
        with m.If(moves):
            m.d.sync += register.eq(value)
        return register

    def _count(self, m: Module, moves: Value) -> tuple[Value, Value]:
        """Unit that the next word begins with, and whether there is one."""
        position, left = Signal(self._address, name="position"), Signal(WORD_BITS, name="words_left")
        shift = (DDR_BEAT_BYTES // self._unit).bit_length() - 1
        half = (self._rows * self._banks).bit_length() - 1
        begin = self.start.address.shift_left(shift) | self.start.half.shift_left(half)
        address = named(m, Mux(self.start_valid, begin, position)[: self._address], "address")
        count = named(m, Mux(self.start_valid, self.start.words, left), "count")
        goes = named(m, count.any(), "goes")
        with m.If(moves):
            m.d.sync += [position.eq(address + self._units), left.eq(count - goes)]
        return address, goes

    def _read(self, m: Module, address: Value, moves: Value) -> list[Value]:
        """What each bank has of the word: of this row, or of the next where the word begins behind the bank."""
        bits = self._banks.bit_length() - 1
        row, phase = address[bits:], address[:bits]
        per_write = WRITE_BYTES // self._unit
        found = []
        for bank in range(self._banks):
            m.submodules[f"bank{bank}"] = memory = Memory(shape=self._unit * 8, depth=HALVES * self._rows, init=[])
            write_port, read_port = memory.write_port(), memory.read_port()
            self._write(m, write_port, bank // per_write, bank % per_write)
            m.d.comb += [read_port.en.eq(moves), read_port.addr.eq(row + self._behind(bank, phase))]
            found.append(read_port.data)
        return found

    def _behind(self, bank: int, phase: Value) -> Value:
        return phase > bank

    def _write(self, m: Module, port: Any, group: int, place: int) -> None:
        """A word from DDR4 goes into a group of neighbouring banks."""
        bits = (self._banks * self._unit // WRITE_BYTES).bit_length() - 1
        row_bits = self._rows.bit_length() - 1
        row = self.write.address[bits:]
        size = self._unit * 8
        padded = named(m, row, f"row_{group}_{place}", row_bits) if row_bits else row[:0]
        m.d.comb += [
            port.addr.eq(Cat(padded, self.write.half)), port.data.eq(self.write.data.word_select(place, size)),
            port.en.eq(self.write.valid & (self.write.address[:bits] == group)),
        ]  # fmt: skip

    def _turned(self, row: Value, phase: Value) -> Value:
        """The word, its first unit lowest."""
        size = self._unit * 8
        turned = row
        for bit in range(len(phase)):
            turned = Mux(phase[bit], turned.rotate_right(size << bit), turned)
        return turned[: self._units * size]
