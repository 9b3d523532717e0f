"""Accumulation tree: fixed-point sums of the aligned products of two columns."""

from typing import Any

from amaranth.hdl import Cat, Module, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.dsp48e2 import ADD, ADD_CONCATENATED, B_BITS, Dsp48e2, DspRegisters
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.overlay import DSP_LANE_BITS


class AccumulationTree(Block):
    """Sum ``length`` addends of each of two neighbouring columns; nothing is rounded or lost.

    Parameters
    ----------
    length : addends of a column, a power of two
    addend_bits : width of an addend
    tree_stages : latency in cycles, spread over the log2(length) levels
    kind : "lut": adders in fabric; "dsp": a DSP48E2 a node adds both columns in two 24-bit lanes
    primitive : vendor primitive instead of the behavioural model

    Ports
    -----
    addend0, addend1 : in, ``length`` × addend_bits, two's complement, of the even and the odd column
    sum0, sum1 : out, addend_bits + log2(length), two's complement

    Timing
    ------
    Latency ``tree_stages``, initiation interval 1, no reset.
    """

    def __init__(
        self, *, length: int, addend_bits: int, tree_stages: int, kind: str, primitive: bool = False
    ) -> None:
        self._length, self._bits, self._stages = length, addend_bits, tree_stages
        self._kind, self._primitive = kind, primitive
        self._levels = length.bit_length() - 1
        addends = data.ArrayLayout(signed(addend_bits), length)
        total = signed(addend_bits + self._levels)
        super().__init__({"addend0": In(addends), "addend1": In(addends), "sum0": Out(total), "sum1": Out(total)})

    def elaborate(self, platform: Any) -> Module:
        """Pairs of addends, level by level, both columns side by side."""
        m = Module()
        values = [(self.addend0[k], self.addend1[k]) for k in range(self._length)]
        for level, cut in enumerate(registers(self._levels, self._stages), 1):
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [self._node(m, a, b, cut, f"sum{level}_{k}") for k, (a, b) in enumerate(pairs)]
        m.d.comb += [self.sum0.eq(values[0][0]), self.sum1.eq(values[0][1])]
        return m

    def _node(self, m: Module, a: Any, b: Any, cut: int, name: str) -> tuple[Value, Value]:
        """Sums of both columns, ``cut`` cycles later."""
        if self._kind == "dsp":
            return self._slice(m, a, b, cut, name)
        sums = [self._added(a[column], b[column]) for column in range(COLUMNS)]
        first, second = (
            delayed(m, named(m, each, f"{name}_{column}"), cut, f"{name}_{column}") for column, each in enumerate(sums)
        )
        return first, second

    def _added(self, a: Value, b: Value) -> Value:
        return a + b

    def _slice(self, m: Module, a: Any, b: Any, cut: int, name: str) -> tuple[Value, Value]:
        """One DSP48E2: the odd column in the upper lane; its P register is the first of the cut."""
        preg = min(cut, 1)
        none = DspRegisters(areg=0, breg=0, creg=0, dreg=0, adreg=0, mreg=0, preg=preg, inmodereg=0)
        module = "dsp48e2_add" if preg else "dsp48e2_add_unregistered"
        block = Dsp48e2(name=module, registers=none, use_mult=False, simd="TWO24", primitive=self._primitive)
        dsp = place(m, name, block)
        left, right = (self._lanes(m, values, f"{name}_{side}") for side, values in (("left", a), ("right", b)))
        m.d.comb += [
            dsp.a.eq(left[B_BITS:]), dsp.b.eq(left[:B_BITS]), dsp.c.eq(right),
            dsp.opmode.eq(ADD_CONCATENATED), dsp.alumode.eq(ADD),
        ]  # fmt: skip
        p = delayed(m, dsp.p, cut - preg, f"{name}_p")
        return p[:DSP_LANE_BITS].as_signed(), p[DSP_LANE_BITS:].as_signed()

    def _lanes(self, m: Module, values: Any, name: str) -> Value:
        """Both columns sign-extended to a lane each."""
        return Cat(*(named(m, value, f"{name}{column}", signed(DSP_LANE_BITS)) for column, value in enumerate(values)))
