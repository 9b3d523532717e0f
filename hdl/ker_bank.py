"""KER bank: the weights of two columns, beside them: registers of both halves."""

import math
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import FP16_BITS
from skipopu.hdl.verilog import Block
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.number_format import INT4_BITS

HALVES = 2


def part_bytes(dot_length: int, word_bytes: int) -> int:
    """Bytes that are written together: an INT4 bank and a word are whole numbers of them."""
    return math.gcd(word_bytes, COLUMNS * dot_length * INT4_BITS // 8)


class KerBank(Block):
    """Both halves of two columns' share of a weight tile.

    Parameters
    ----------
    dot_length : weights of a column
    part_bytes : bytes written together

    Ports
    -----
    fp16, fp16_write : in, 2 × dot_length FP16 weights, a write bit a part
    int4, int4_write : in, as many INT4 weights, which take the lowest quarter; never together with fp16_write
    element, element_write : in, 2 × dot_length FP16 weights, a write bit each; never together with the others
    clear (1) : in, with it: what is not written becomes zero
    fill_half : in, the half that is written
    read_half, read_int4 : in, the half that is read, and its format
    weight0, weight1 : out, ``dot_length`` × 16 bits each; INT4 in the low 4 bits

    Timing
    ------
    Written at the end of the cycle; read without a register.
    """

    def __init__(self, *, dot_length: int, part_bytes: int) -> None:
        self._length, self._part = dot_length, part_bytes * 8
        fp16, int4 = (COLUMNS * dot_length * bits for bits in (FP16_BITS, INT4_BITS))
        weights = data.ArrayLayout(FP16_BITS, dot_length)
        super().__init__({
            "fp16": In(fp16), "fp16_write": In(fp16 // self._part),
            "int4": In(int4), "int4_write": In(int4 // self._part),
            "element": In(fp16), "element_write": In(COLUMNS * dot_length), "clear": In(1),
            "fill_half": In(1), "read_half": In(1), "read_int4": In(1),
            "weight0": Out(weights), "weight1": Out(weights),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Registers, then the half in use in its format."""
        m = Module()
        halves = [self._half(m, half) for half in range(HALVES)]
        tile = Signal(len(self.fp16), name="tile")
        m.d.comb += tile.eq(Mux(self.read_half, halves[1], halves[0]))
        for column, weights in enumerate((self.weight0, self.weight1)):
            for k in range(self._length):
                at = column * self._length + k
                int4, fp16 = (tile[at * bits : (at + 1) * bits] for bits in (INT4_BITS, FP16_BITS))
                m.d.comb += weights[k].eq(Mux(self.read_int4, int4, fp16))
        return m

    def _half(self, m: Module, half: int) -> Signal:
        """A register a part, written in either format, or a weight at a time."""
        weights = Signal(len(self.fp16), name=f"half{half}", reset_less=True)
        for part in range(len(self.fp16_write)):
            bits = slice(part * self._part, (part + 1) * self._part)
            with m.If((self.fill_half == half) & self.fp16_write[part]):
                m.d.sync += weights[bits].eq(self.fp16[bits])
            if part < len(self.int4_write):
                with m.If((self.fill_half == half) & self.int4_write[part]):
                    m.d.sync += weights[bits].eq(self.int4[bits])
        for place in range(COLUMNS * self._length):
            bits = slice(place * FP16_BITS, (place + 1) * FP16_BITS)
            with m.If((self.fill_half == half) & self.element_write[place]):
                m.d.sync += weights[bits].eq(self.element[bits])
            with m.Elif((self.fill_half == half) & self.clear):
                m.d.sync += weights[bits].eq(0)
        return weights
