"""Resource model of a pair of columns: every register and piece of logic, from the overlay's parameters."""

from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.number_format import FP16
from skipopu.spec.number_format import INT4_PRODUCT_BITS as INT4_PRODUCT
from skipopu.spec.number_format import PRODUCT_BITS as PRODUCT
from skipopu.spec.overlay import Overlay
from skipopu.spec.resource_terms import (
    Logic,
    Module,
    Registers,
    add,
    bits_for,
    compare,
    multiplex,
    reduce,
    shift,
    spread,
)
from skipopu.spec.resources_of_floats import SPECIAL, conversion, float_adder

SIGNIFICAND, EXPONENT = FP16.significand_bits, FP16.exponent_bits
SUM_EXPONENT, OPERAND = 6, SIGNIFICAND + EXPONENT + 3  # sign, infinite, NaN
OVERLAP, CORRECTION, SLICE_STAGES, LANES = 5, 38, 4, 48


def modules_of_columns(overlay: Overlay) -> tuple[Module, ...]:
    """Every module of the column pairs with its count in the whole array."""
    makers = (_pe, _alignment, _shared_exponent, _tree, conversion, float_adder, _column_pair)
    return tuple(make(overlay) for make in makers)


def pairs(overlay: Overlay) -> int:
    """Column pairs of the array."""
    return overlay.pe_array.columns // COLUMNS


def _pe(overlay: Overlay) -> Module:
    """Two products in one slice, with what is packed before it and recovered behind it."""
    pe = overlay.pe_array
    bits, inside = pe.product_bits, min(pe.multiply_stages, SLICE_STAGES)
    ahead = int(inside >= SLICE_STAGES - 1)  # the auxiliary product and the correction in cycles of their own
    wait = inside - 1 - int(inside > 1) - ahead
    dropped = PRODUCT - bits  # low bits: what only they need is never built
    correction = SIGNIFICAND - 1 + OVERLAP + SIGNIFICAND + 1
    registers = (
        Registers("auxiliary product", OVERLAP, ahead),
        Registers("auxiliary product to the result", OVERLAP, inside - ahead, live=max(OVERLAP - dropped, 0)),
        Registers("correction, into C", CORRECTION, wait, live=correction),
        Registers("operands of the correction", SIGNIFICAND + 3, ahead),
        Registers("format of the weights", 1, inside),
        Registers("lowest bit of the lower product", 1, inside, live=int(dropped == 0)),
        Registers("products", 2 * bits, pe.multiply_stages - inside),
    )
    logic = (
        Logic("pack: INT4 or significand, both lanes", 2 * multiplex(SIGNIFICAND)),
        Logic("auxiliary product: a triangle of partial products", OVERLAP * (OVERLAP + 1) // 2),
        Logic("correction: gated half and auxiliary bits", SIGNIFICAND - 1 + OVERLAP),
        Logic("correction: negated upper part", add(SIGNIFICAND + 1)),
        Logic("recover: negate the upper product", add(PRODUCT - OVERLAP)),
        Logic("recover: borrow of the lower INT4 product", add(INT4_PRODUCT + 2)),
        Logic("recover: magnitudes of INT4 products", COLUMNS * add(INT4_PRODUCT + 1)),
        Logic("recover: INT4 or FP16", COLUMNS * multiplex(bits)),
    )
    return Module("pe", pairs(overlay) * pe.dot_length, registers, logic, dsp48e2=1)


def _alignment(overlay: Overlay) -> Module:
    pe = overlay.pe_array
    bits, distance = pe.product_bits, (pe.product_bits + 1).bit_length()
    first, second = spread(2, pe.align_stages)
    nearest = pe.alignment_rounding == "nearest"
    registers = (
        Registers("distance", distance, first),
        Registers("product, sign", bits + 1, first),
        Registers("addend", bits + 1, second),
    )
    logic = (
        Logic("distance", add(SUM_EXPONENT)),
        Logic("distance, at most all bits", compare(SUM_EXPONENT) + multiplex(distance)),
        Logic("shift", shift(bits + nearest, distance)),
        Logic("round half away from zero", add(bits) if nearest else 0),
        Logic("sign", add(bits + 1)),
    )
    return Module("alignment", pe.columns * pe.dot_length, registers, logic)


def _shared_exponent(overlay: Overlay) -> Module:
    pe = overlay.pe_array
    length, stages = pe.dot_length, pe.multiply_stages
    cuts = spread(1 + bits_for(length), stages)
    levels = ((length >> level, cut) for level, cut in enumerate(cuts))
    registers = (
        Registers("exponents of the products", SUM_EXPONENT * length, stages),
        Registers("signs of the products", length, stages),
        Registers("special values", SPECIAL, stages),
        *(Registers(f"maximum of {length // n}", SUM_EXPONENT * n, cut) for n, cut in levels),
    )
    logic = (
        Logic("sum of two exponents", length * add(SUM_EXPONENT)),
        Logic("zero operands", length * 2 * reduce(SIGNIFICAND)),
        Logic("exponent 0 of a zero product", length * multiplex(SUM_EXPONENT)),
        Logic("signs", length),
        Logic("NaN, +∞, −∞ of a product", length * SPECIAL),
        Logic("NaN, +∞, −∞ of the column", SPECIAL * reduce(length)),
        Logic("maximum", (length - 1) * (compare(SUM_EXPONENT) + multiplex(SUM_EXPONENT))),
    )
    return Module("shared_exponent", pe.columns, registers, logic)


def _tree(overlay: Overlay) -> Module:
    """In LUTs an adder a node and column; else a slice a node, whose P register is the first of the level."""
    pe = overlay.pe_array
    levels = bits_for(pe.dot_length)
    nodes = [pe.dot_length >> level for level in range(1, levels + 1)]
    widths = [pe.product_bits + 1 + level for level in range(1, levels + 1)]
    cuts = spread(levels, pe.tree_stages)
    if pe.tree == "dsp":
        behind = zip(nodes, (max(cut - 1, 0) for cut in cuts), strict=True)
        late = tuple(Registers(f"sums of {n} nodes", n * LANES, cycles) for n, cycles in behind)
        return Module("accumulation_tree", pairs(overlay), late, dsp48e2=sum(nodes))
    rows = list(zip(nodes, widths, cuts, strict=True))
    registers = tuple(Registers(f"sums of {n} nodes", COLUMNS * n * bits, cut) for n, bits, cut in rows)
    logic = tuple(Logic(f"{n} adders a column", COLUMNS * n * add(bits)) for n, bits, _ in rows)
    return Module("accumulation_tree", pairs(overlay), registers, logic)


def _column_pair(overlay: Overlay) -> Module:
    """Weights taken apart; exponent and special values wait for the sum."""
    pe = overlay.pe_array
    wait = pe.align_stages + pe.tree_stages
    registers = (
        Registers("format of the weights", 1, pe.multiply_stages + wait),
        *(
            Registers(f"shared exponent and special values of column {column}", SUM_EXPONENT + SPECIAL, wait)
            for column in range(COLUMNS)
        ),
    )
    decode = multiplex(SIGNIFICAND) + multiplex(EXPONENT) + 1 + fp16_flags()
    logic = (Logic("weights taken apart", COLUMNS * pe.dot_length * decode),)
    return Module("column_pair", pairs(overlay), registers, logic)


def fp16_flags() -> int:
    """LUTs that find hidden one, infinity and NaN of an FP16 number."""
    fraction = SIGNIFICAND - 1
    return 2 * reduce(EXPONENT) + reduce(fraction) + 2
