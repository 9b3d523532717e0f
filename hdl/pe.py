"""PE: two products of one activation with the weights of two neighbouring columns, in one DSP48E2."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib.wiring import In, Out

from skipopu.hdl.dsp48e2 import ENABLE_D, MULTIPLY_ADD, NEGATE_A, Dsp48e2, DspRegisters
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import FP16, INT4_BITS, INT4_PRODUCT_BITS, PRODUCT_BITS

SIGNIFICAND_BITS = FP16.significand_bits
LANE = 16  # the upper product begins here in the packed operand
OVERLAP = 5  # bits in which the two products of significands overlap
CORRECTION_BITS = LANE + PRODUCT_BITS  # −(h·w) << 26 reaches furthest: 37 bits and a sign
DSP_STAGES = 4  # with the pre-adder's register (UG579)


def dsp_registers(stages: int) -> DspRegisters:
    """Registers of the slice for a latency of ``stages``: PREG first, then A/B/C/D, MREG, ADREG."""
    inputs, multiplier, preadder = (int(stages > n) for n in (1, 2, 3))
    return DspRegisters(
        areg=inputs, dreg=inputs, creg=inputs, inmodereg=inputs, breg=inputs + preadder,
        mreg=multiplier, adreg=preadder, preg=1,
    )  # fmt: skip


class Pe(Block):
    """Processing element: two exact products from one DSP48E2 (SkipOPU §4.2).

    Parameters
    ----------
    product_bits : width of a product, 15 … 22; low bits beyond it are dropped
    multiply_stages : latency in cycles; the slice takes up to 4, fabric registers the rest
    primitive : vendor primitive instead of the behavioural model

    Ports
    -----
    int4 : in, weights are two's complement INT4 in the low 4 bits; else they are significands
    activation (11) : in, significand with its hidden one
    weight0, weight1 (11) : in, of the even and the odd column
    product0, product1 (product_bits) : out, magnitudes, the top bit weighs 2²¹ of a significand product or 2¹³ of an
        INT4 product

    Timing
    ------
    Latency ``multiply_stages``, initiation interval 1, no reset.
    """

    def __init__(self, *, product_bits: int, multiply_stages: int, primitive: bool = False) -> None:
        self._bits, self._stages, self._primitive = product_bits, multiply_stages, primitive
        super().__init__({
            "int4": In(1), "activation": In(SIGNIFICAND_BITS), "weight0": In(SIGNIFICAND_BITS),
            "weight1": In(SIGNIFICAND_BITS), "product0": Out(product_bits), "product1": Out(product_bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Pack, multiply, recover."""
        m = Module()
        stages = min(self._stages, DSP_STAGES)  # in the slice
        wait = min(stages - 1 - dsp_registers(stages).creg, 1)
        auxiliary = delayed(m, named(m, self._auxiliary(), "auxiliary"), wait, "auxiliary")
        p = self._multiply(m, stages, auxiliary, wait)
        overlap = delayed(m, auxiliary, stages - wait, "overlap")
        products = self._recover(m, p, stages, overlap)
        for port, product, name in zip((self.product0, self.product1), products, ("product0", "product1"), strict=True):
            m.d.comb += port.eq(delayed(m, product, self._stages - stages, name))
        return m

    def _multiply(self, m: Module, stages: int, auxiliary: Value, wait: int) -> Value:
        """The packed product plus its correction, ``stages`` cycles later."""
        registers = dsp_registers(stages)
        dsp = place(m, "dsp", Dsp48e2(name="dsp48e2_multiply", registers=registers, primitive=self._primitive))
        low, high = self._packed(m)
        correction = self._correction(m, auxiliary, wait)
        m.d.comb += [
            dsp.d.eq(low),
            dsp.a.eq(high << LANE),
            dsp.b.eq(self.activation),
            dsp.inmode.eq(Mux(self.int4, ENABLE_D, ENABLE_D | NEGATE_A)),
            dsp.opmode.eq(MULTIPLY_ADD),
            dsp.c.eq(delayed(m, correction, stages - 1 - registers.creg - wait, "correction")),
        ]
        p: Value = dsp.p
        return p

    def _packed(self, m: Module) -> tuple[Value, Value]:
        """Lower and upper lane of the pre-adder: INT4 as it is; without LSB and without MSB else."""
        int4 = [w[:INT4_BITS].as_signed() for w in (self.weight0, self.weight1)]
        low = named(m, Mux(self.int4, int4[0], self.weight0[1:]), "low", signed(SIGNIFICAND_BITS))
        high = named(m, Mux(self.int4, int4[1], self.weight1[:-1]), "high", signed(SIGNIFICAND_BITS))
        return low, high

    def _auxiliary(self) -> Value:
        """The bits in which the two products overlap, from a small multiplier of their own."""
        return (self.weight1[:OVERLAP] * self.activation[:OVERLAP])[:OVERLAP]

    def _correction(self, m: Module, auxiliary: Value, wait: int) -> Value:
        """C: auxiliary bits, the dropped LSB's share of the lower and MSB's share of the upper product."""
        w, int4 = delayed(m, self.activation, wait, "c_activation"), delayed(m, self.int4, wait, "c_int4")
        lsb, msb = delayed(m, self.weight0[0], wait, "lsb"), delayed(m, self.weight1[-1], wait, "msb")
        total = (auxiliary << LANE) + Mux(lsb, w >> 1, 0) - (Mux(msb, w, 0) << (LANE + SIGNIFICAND_BITS - 1))
        return named(m, Mux(int4, 0, total)[:CORRECTION_BITS].as_signed(), "correction", signed(CORRECTION_BITS))

    def _recover(self, m: Module, p: Value, cycles: int, overlap: Value) -> tuple[Value, Value]:
        """Both magnitudes from P and from what went round the slice."""
        int4 = delayed(m, self.int4, cycles, "int4")
        bottom = delayed(m, named(m, self.weight0[0] & self.activation[0], "bottom"), cycles, "bottom")
        float0 = named(m, Cat(bottom, p[: PRODUCT_BITS - 1]), "float0")
        float1 = named(m, Cat(overlap, self._high(p)), "float1")
        int0 = named(m, p[:LANE].as_signed(), "int0")
        int1 = named(m, self._upper(p), "int1", signed(LANE))
        return self._chosen(int4, float0, int0), self._chosen(int4, float1, int1)

    def _high(self, p: Value) -> Value:
        """The upper product above the overlap; the pre-adder has subtracted it."""
        return (-(p >> (PRODUCT_BITS - 1)))[: PRODUCT_BITS - OVERLAP]

    def _upper(self, p: Value) -> Value:
        """The upper INT4 product: the lower one, if negative, has borrowed from it."""
        return (p[LANE : 2 * LANE] + p[LANE - 1])[:LANE].as_signed()

    def _chosen(self, int4: Value, of_float: Value, of_int4: Value) -> Value:
        """``product_bits`` of the magnitude, INT4 products moved to the top."""
        magnitude = Mux(of_int4 < 0, -of_int4, of_int4)[:INT4_PRODUCT_BITS]
        moved = Cat(Const(0, self._bits - INT4_PRODUCT_BITS), magnitude)
        return Mux(int4, moved, of_float[PRODUCT_BITS - self._bits :])

