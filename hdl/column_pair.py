"""Column pair: two neighbouring columns of the PE array, whose products share the DSPs."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.accumulation_tree import AccumulationTree
from skipopu.hdl.alignment import Alignment
from skipopu.hdl.conversion import Conversion
from skipopu.hdl.float_adder import FloatAdder
from skipopu.hdl.operand import FP16_BITS, OPERAND, weight_operand
from skipopu.hdl.pe import Pe
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.shared_exponent import SharedExponent
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import PeArray, Psum


class ColumnPair(Block):
    """Two dot products of a row and their addition to the partial sums (SkipOPU §4.2).

    Parameters
    ----------
    pe_array, psum : sections of the overlay
    primitive : vendor primitives instead of behavioural DSPs

    Ports
    -----
    int4 : in, the format of the weights
    row : in, ``dot_length`` operands, the same for every pair
    weight0, weight1 : in, ``dot_length`` × 16 bits, of the even and the odd column; INT4 in the low 4 bits
    partial0, partial1 : in, what the dot products are added to, numbers of ``psum.format``
    sum0, sum1 : out, to be stored

    Timing
    ------
    int4, row, weight → the dot product at the adder: multiply + align + tree + convert cycles; partial stands beside
    it. From there sum takes ``accumulate_stages`` − 1 cycles, PSUM's write is the last. Initiation interval 1.
    """

    def __init__(self, *, pe_array: PeArray, psum: Psum, primitive: bool = False) -> None:
        self._pe, self._psum, self._primitive = pe_array, psum, primitive
        weights = data.ArrayLayout(FP16_BITS, pe_array.dot_length)
        number = FORMATS[psum.format].bits
        super().__init__({
            "int4": In(1), "row": In(data.ArrayLayout(OPERAND, pe_array.dot_length)),
            "weight0": In(weights), "weight1": In(weights), "partial0": In(number), "partial1": In(number),
            "sum0": Out(number), "sum1": Out(number),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """PEs between the columns, then each column for itself; only the tree is common."""
        m = Module()
        p = self._pe
        weights = [self._weights(m, column) for column in range(COLUMNS)]
        products = self._products(m, weights)
        exponents = [self._exponents(m, column, weights[column]) for column in range(COLUMNS)]
        tree = place(m, "tree", AccumulationTree(
            length=p.dot_length, addend_bits=p.product_bits + 1, tree_stages=p.tree_stages, kind=p.tree,
            primitive=self._primitive,
        ))  # fmt: skip
        int4 = delayed(m, self.int4, self._until_conversion(), "int4")
        for column in range(COLUMNS):
            self._align(m, column, products[column], exponents[column], getattr(tree, f"addend{column}"))
            dot = self._convert(m, column, getattr(tree, f"sum{column}"), exponents[column], int4)
            self._accumulate(m, column, dot)
        return m

    def _until_conversion(self) -> int:
        return self._pe.multiply_stages + self._pe.align_stages + self._pe.tree_stages

    def _weights(self, m: Module, column: int) -> Any:
        """The column's weights as operands."""
        words = getattr(self, f"weight{column}")
        operands = Signal(data.ArrayLayout(OPERAND, self._pe.dot_length), name=f"operand{column}")
        for k in range(self._pe.dot_length):
            weight_operand(m, operands[k], words[k], self.int4)
        return operands

    def _products(self, m: Module, weights: list[Any]) -> list[list[Value]]:
        """Place a PE for every product of the row; return the products of each column."""
        p = self._pe
        block = Pe(product_bits=p.product_bits, multiply_stages=p.multiply_stages, primitive=self._primitive)
        products: list[list[Value]] = [[], []]
        for k in range(p.dot_length):
            pe = place(m, f"pe_{k}", block)
            m.d.comb += [
                pe.int4.eq(self.int4), pe.activation.eq(self.row[k].significand),
                pe.weight0.eq(weights[0][k].significand), pe.weight1.eq(weights[1][k].significand),
            ]  # fmt: skip
            products[0].append(pe.product0)
            products[1].append(pe.product1)
        return products

    def _exponents(self, m: Module, column: int, weights: Any) -> Any:
        """What finds the column's shared exponent."""
        p = self._pe
        shared = place(m, f"exponent{column}", SharedExponent(length=p.dot_length, multiply_stages=p.multiply_stages))
        m.d.comb += [shared.activation.eq(self.row), shared.weight.eq(weights)]
        return shared

    def _align(self, m: Module, column: int, products: list[Value], shared: Any, addends: Any) -> None:
        p = self._pe
        block = Alignment(
            product_bits=p.product_bits, nearest=p.alignment_rounding == "nearest", align_stages=p.align_stages
        )
        for k, product in enumerate(products):
            align = place(m, f"align{column}_{k}", block)
            m.d.comb += [
                align.product.eq(product), align.negative.eq(shared.negative[k]),
                align.exponent.eq(shared.exponent[k]), align.maximum.eq(shared.maximum), addends[k].eq(align.addend),
            ]  # fmt: skip

    def _convert(self, m: Module, column: int, total: Value, shared: Any, int4: Value) -> Value:
        p = self._pe
        block = Conversion(
            sum_bits=len(total), product_bits=p.product_bits, format=self._psum.format,
            nearest_even=p.output_rounding == "nearest_even", convert_stages=p.convert_stages,
        )  # fmt: skip
        convert = place(m, f"convert{column}", block)
        wait = p.align_stages + p.tree_stages
        m.d.comb += [
            convert.int4.eq(int4),
            convert.sum.eq(total),
            convert.exponent.eq(delayed(m, shared.maximum, wait, f"maximum{column}")),
            convert.special.eq(delayed(m, shared.special, wait, f"special{column}")),
        ]
        result: Value = convert.result
        return result

    def _accumulate(self, m: Module, column: int, dot: Value) -> None:
        block = FloatAdder(format=self._psum.format, stages=self._pe.accumulate_stages, registered_output=False)
        add = place(m, f"accumulate{column}", block)
        m.d.comb += [
            add.a.eq(dot), add.b.eq(getattr(self, f"partial{column}")), getattr(self, f"sum{column}").eq(add.result)
        ]  # fmt: skip
