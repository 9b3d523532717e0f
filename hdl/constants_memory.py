"""Constants memory: both halves of the constants as one reader sees them."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS

WRITE_BYTES = DDR_BEAT_BYTES * DDR_CHANNELS  # what the load engine takes out of DDR4 in a cycle
HALVES = 2


def word_write(size: int) -> Signature:
    """A word of `WRITE_BYTES` for a memory of ``size`` bytes; ``address`` counts such words."""
    words = index(-(-size // WRITE_BYTES))
    return Signature({"valid": Out(1), "address": Out(words), "data": Out(WRITE_BYTES * 8)})


def constants_write(half_bytes: int) -> Signature:
    """A word for a half of the constants; ``address`` counts from the beginning of the half."""
    return Signature({"half": Out(1), **word_write(half_bytes).members})


def row_bytes(bytes_read: int) -> int:
    """Return the bytes of a row of a memory that is read so many at a time."""
    return max(bytes_read, WRITE_BYTES)


class ConstantsMemory(Block):
    """Block RAM of two halves, written `WRITE_BYTES` a cycle, read ``read_bytes`` a cycle.

    A row is as wide as the wider of the two; a narrower read takes its part of the row, a narrower write writes it.

    Parameters
    ----------
    half_bytes : of a half, rounded up to whole rows
    read_bytes : a power of two
    read_stages : cycles of a read

    Ports
    -----
    write : in, `constants_write`
    enable, half, address : in, word of ``read_bytes`` in the half · data : out, stands still without ``enable``

    Timing
    ------
    Data ``read_stages`` enabled cycles after the address. A word written in cycle t is found by reads from t + 1 on.
    """

    def __init__(self, *, half_bytes: int, read_bytes: int, read_stages: int) -> None:
        self._half, self._read, self._stages = half_bytes, read_bytes, read_stages
        self._row = row_bytes(read_bytes)
        self._rows = 1 << (-(-half_bytes // self._row) - 1).bit_length()  # of a half; the half is an address bit
        words = index(-(-half_bytes // read_bytes))
        super().__init__({
            "write": In(constants_write(half_bytes)),
            "enable": In(1), "half": In(1), "address": In(words), "data": Out(read_bytes * 8),
        })  # fmt: skip

    @property
    def module(self) -> str:
        """One module a size and a width."""
        return f"constants_memory_{self._half}_{self._read}"

    def elaborate(self, platform: Any) -> Module:
        """A write port with an enable a word written, a read port, the part of the row, registers."""
        m = Module()
        m.submodules.rows = memory = Memory(shape=self._row * 8, depth=HALVES * self._rows, init=[])
        write_port, read = memory.write_port(granularity=WRITE_BYTES * 8), memory.read_port()
        self._write(m, write_port)
        row, part = self._split(self.address, self._row // self._read)
        m.d.comb += [read.en.eq(self.enable), read.addr.eq(self._place(self.half, row))]
        found = self._part(m, read.data, part)
        for stage in range(2, self._stages + 1):
            register = Signal(self._read * 8, name=f"data_{stage}", reset_less=True)
            with m.If(self.enable):
                m.d.sync += register.eq(found)
            found = register
        m.d.comb += self.data.eq(found)
        return m

    def _write(self, m: Module, port: Any) -> None:
        parts = self._row // WRITE_BYTES
        row, part = self._split(self.write.address, parts)
        m.d.comb += [
            port.addr.eq(self._place(self.write.half, row)), port.data.eq(self.write.data.replicate(parts)),
            port.en.eq(self.write.valid << part if parts > 1 else self.write.valid),
        ]  # fmt: skip

    def _split(self, address: Value, parts: int) -> tuple[Value, Value]:
        """Row, and part of it."""
        bits = parts.bit_length() - 1
        return address[bits:], address[:bits]

    def _place(self, half: Value, row: Value) -> Value:
        """The halves lie one behind the other."""
        bits = self._rows.bit_length() - 1
        return Cat(row[:bits], half)

    def _part(self, m: Module, row: Value, part: Value) -> Value:
        """The part that was asked for."""
        if len(part) == 0:
            return row
        chosen = Signal(len(part), name="part", reset_less=True)
        with m.If(self.enable):
            m.d.sync += chosen.eq(part)
        return row.word_select(chosen, self._read * 8)
