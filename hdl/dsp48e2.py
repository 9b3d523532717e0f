"""DSP48E2: the multiplier and the adder of the UltraScale+ DSP slice, as far as this overlay uses it (UG579)."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.wiring import In, Out

from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import Block

A_BITS, B_BITS, C_BITS, D_BITS, P_BITS = 30, 18, 48, 27, 48
PREADDER_BITS = 27

# OPMODE[8:0] = W, Z, Y, X (UG579): what the four multiplexers in front of the adder select
MULTIPLY_ADD = 0b00_011_01_01  # Z = C, X and Y = the product: P = A·B + C
ADD_CONCATENATED = 0b00_011_00_11  # Z = C, Y = 0, X = A:B: P = A:B + C
ADD = 0b0000  # ALUMODE: Z + W + X + Y
SUBTRACT = 0b0011  # ALUMODE: Z − (W + X + Y)

# INMODE
SELECT_A1, GATE_A, ENABLE_D, NEGATE_A, SELECT_B1 = (1 << bit for bit in range(5))


@dataclass(frozen=True, kw_only=True)
class DspRegisters:
    """Pipeline registers of the slice, attributes of the primitive under the same names."""

    areg: int = 1
    breg: int = 2
    creg: int = 1
    dreg: int = 1
    adreg: int = 1
    mreg: int = 1
    preg: int = 1
    inmodereg: int = 1


class Dsp48e2(Block):
    """DSP48E2 slice: P = (D ± A)·B + C, or two 24-bit sums A:B + C.

    Parameters
    ----------
    name : Verilog module name
    registers : AREG … PREG, INMODEREG; OPMODEREG, ALUMODEREG and CARRYINREG are 0
    use_mult : True: pre-adder and multiplier (AMULTSEL = "AD"); False: USE_MULT = "NONE"
    simd : "ONE48", "TWO24" or "FOUR12": the adder as one, two or four lanes
    primitive : False: behavioural model; True: the vendor's primitive DSP48E2

    Ports
    -----
    a (30), b (18), c (48), d (27) : in, two's complement
    inmode (5), opmode (9), alumode (4) : in, UG579 tables 2-5 to 2-9; cascade inputs do not exist here, selecting
        PCIN gives 0, and so does P without preg
    p (48) : out

    Timing
    ------
    A, D → P: areg + adreg + mreg + preg cycles with the multiplier, areg + preg without; B: breg + mreg + preg;
    C: creg + preg. Initiation interval 1. All registers are enabled in every cycle and never reset.
    """

    def __init__(
        self,
        *,
        name: str,
        registers: DspRegisters,
        use_mult: bool = True,
        simd: str = "ONE48",
        primitive: bool = False,
    ) -> None:
        self._name, self.registers, self.use_mult = name, registers, use_mult
        self.lanes = {"ONE48": 1, "TWO24": 2, "FOUR12": 4}[simd]
        self._simd, self._primitive = simd, primitive
        if use_mult and self.lanes > 1:
            raise ValueError(f"simd = {simd}: the lanes of the adder cannot take a product; use_mult must be False")
        ports = {"a": A_BITS, "b": B_BITS, "c": C_BITS, "d": D_BITS, "inmode": 5, "opmode": 9, "alumode": 4}
        super().__init__({name: In(width) for name, width in ports.items()} | {"p": Out(P_BITS)})

    @property
    def module(self) -> str:
        """Name of the Verilog module."""
        return self._name

    def elaborate(self, platform: Any) -> Module:
        """Return the model or the primitive."""
        m = Module()
        if self._primitive:
            m.submodules.primitive = self._vendor()
            return m
        r = self.registers
        inmode = delayed(m, self.inmode, r.inmodereg, "inmode")
        a = self._operand(m, self.a, r.areg, inmode[0], "a")
        b = self._operand(m, self.b, r.breg, inmode[4], "b")
        product = self._product(m, a, b, inmode) if self.use_mult else Const(0, signed(P_BITS))
        result = Signal(P_BITS)
        m.d.comb += result.eq(self._alu(m, product, Cat(b, a), delayed(m, self.c, r.creg, "c")))
        m.d.comb += self.p.eq(delayed(m, result, r.preg, "p"))
        return m

    def _operand(self, m: Module, port: Value, count: int, first: Value, name: str) -> Value:
        """A or B behind its registers; INMODE can select the first of two for the multiplier."""
        one = delayed(m, port, max(count - 1, 0), f"{name}1")
        two = delayed(m, one, min(count, 1), f"{name}2")
        return Mux(first, one, two) if self.use_mult else two

    def _product(self, m: Module, a: Value, b: Value, inmode: Value) -> Value:
        """(D ± A)·B in 45 bits; pre-adder and product have registers of their own."""
        r = self.registers
        gated_a = Mux(inmode[1], 0, a[:PREADDER_BITS])
        gated_d = Mux(inmode[2], delayed(m, self.d, r.dreg, "d"), 0)
        ad = Signal(signed(PREADDER_BITS))
        m.d.comb += ad.eq(Mux(inmode[3], gated_d - gated_a, gated_d + gated_a))
        product = Signal(signed(PREADDER_BITS + B_BITS))
        m.d.comb += product.eq(delayed(m, ad, r.adreg, "ad").as_signed() * b.as_signed())
        return delayed(m, product, r.mreg, "m").as_signed()

    def _alu(self, m: Module, product: Value, concatenated: Value, c: Value) -> Value:
        """Select W, X, Y and Z, and add them lane by lane with wrap-around."""
        p = self.p if self.registers.preg else Const(0, P_BITS)  # UG579: feedback needs the register
        ones = Const(-1, signed(P_BITS))
        w, x, y, z = (Signal(P_BITS, name=name) for name in "wxyz")
        shifted = p.as_signed() >> 17
        choices = (
            (x, self.opmode[0:2], (0, product, p, concatenated)),
            (y, self.opmode[2:4], (0, 0, ones, c)),  # 01: the product's second half, counted in X
            (z, self.opmode[4:7], (0, 0, p, c, p, 0, shifted, 0)),
            (w, self.opmode[7:9], (0, p, 0, c)),
        )
        for target, select, values in choices:
            with m.Switch(select):
                for code, value in enumerate(values):
                    with m.Case(code):
                        m.d.comb += target.eq(value)
        width = P_BITS // self.lanes
        return Cat(*(self._lane([v[i * width : (i + 1) * width] for v in (w, x, y, z)]) for i in range(self.lanes)))

    def _lane(self, operands: list[Value]) -> Value:
        w, x, y, z = operands
        width = len(z)
        negated = Mux(self.alumode[0], (~z)[:width], z)
        total = (negated + w + x + y)[:width]
        return Mux(self.alumode[1], ~total, total)[:width]

    def _vendor(self) -> Instance:
        r = self.registers
        attributes = {
            "A_INPUT": "DIRECT", "B_INPUT": "DIRECT", "AMULTSEL": "AD" if self.use_mult else "A", "BMULTSEL": "B",
            "PREADDINSEL": "A", "USE_MULT": "MULTIPLY" if self.use_mult else "NONE", "USE_SIMD": self._simd,
            "AREG": r.areg, "ACASCREG": r.areg, "BREG": r.breg, "BCASCREG": r.breg, "CREG": r.creg, "DREG": r.dreg,
            "ADREG": r.adreg, "MREG": r.mreg, "PREG": r.preg, "INMODEREG": r.inmodereg, "OPMODEREG": 0,
            "ALUMODEREG": 0, "CARRYINREG": 0, "CARRYINSELREG": 0,
        }  # fmt: skip
        enables = ("A1", "A2", "AD", "ALUMODE", "B1", "B2", "C", "CARRYIN", "CTRL", "D", "INMODE", "M", "P")
        resets = ("A", "ALLCARRYIN", "ALUMODE", "B", "C", "CTRL", "D", "INMODE", "M", "P")
        return Instance(
            "DSP48E2",
            *(("p", name, value) for name, value in attributes.items()),
            *(("i", f"CE{name}", Const(1)) for name in enables),
            *(("i", f"RST{name}", Const(0)) for name in resets),
            *(("i", port.upper(), getattr(self, port)) for port in ("a", "b", "c", "d", "inmode", "opmode", "alumode")),
            ("i", "CLK", ClockSignal()), ("i", "CARRYIN", Const(0, unsigned(1))), ("i", "CARRYINSEL", Const(0, 3)),
            ("o", "P", self.p),
        )  # fmt: skip
