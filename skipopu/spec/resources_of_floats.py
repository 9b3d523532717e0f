"""Resource model of floating point: conversion of a column's sum, and the adder of the partial sums."""

from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import Overlay
from skipopu.spec.resource_terms import (
    Logic,
    Module,
    Registers,
    add,
    bits_for,
    compare,
    leading_zeros,
    multiplex,
    reduce,
    shift,
    spread,
)

SPECIAL = 3  # NaN, +∞, −∞; of a number NaN, infinite, its sign
SCALED, GUARD = 11, 3  # signed exponent before rounding; guard, round and sticky bit


def conversion(overlay: Overlay) -> Module:
    """Leading zeros of the magnitude, then normalise and round."""
    pe, total = overlay.pe_array, overlay.sum_bits
    form = FORMATS[overlay.psum.format]
    exponent, fraction = form.exponent_bits, form.fraction_bits
    number, significand, places = 1 + exponent + fraction, fraction + 1, total.bit_length()
    first, second = spread(2, pe.convert_stages)
    registers = (
        Registers("magnitude, sign", total + 1, first),
        Registers("leading zeros", places, first),
        Registers("exponent of a one in the top bit", SCALED, first),
        Registers("special values", SPECIAL, first),
        Registers("result", number, second),
    )
    below = bits_for(significand + 2)  # places that a subnormal stands lower
    subnormal = compare(SCALED) + add(SCALED) + shift(total, below) if overlay.psum.format == "fp16" else 0
    rounds = pe.output_rounding == "nearest_even" and total > significand
    logic = (
        Logic("magnitude", add(total)),
        Logic("leading zeros", leading_zeros(total)),
        Logic("exponent", 2 * add(SCALED)),
        Logic("normalise", shift(total, places)),
        Logic("subnormal numbers", subnormal),
        Logic("round to nearest", reduce(total - significand) + 1 if rounds else 0),
        Logic("exponent and fraction", add(number)),
        Logic("overflow", reduce(exponent + 1) + multiplex(number - 1)),
        Logic("special values, zero", reduce(total) + multiplex(number)),
    )
    return Module("conversion", pe.columns, registers, logic)


def float_adder(overlay: Overlay) -> Module:
    """Align, add, normalise, round; the last register is PSUM's write."""
    form = FORMATS[overlay.psum.format]
    exponent, fraction = form.exponent_bits, form.fraction_bits
    number, wide = 1 + exponent + fraction, fraction + 1 + GUARD
    places = wide.bit_length()
    align, total, normal, last = spread(4, overlay.pe_array.accumulate_stages)
    registers = (
        Registers("both significands, exponent, subtract", 2 * wide + exponent + 1, align),
        Registers("sum, exponent", wide + 1 + exponent, total),
        Registers("normalised significand, exponent", wide + exponent + 1, normal),
        Registers("sign", 1, align + total + normal, shifts=False),
        Registers("special values", SPECIAL, align + total + normal),
        Registers("result", number, last - 1),
    )
    logic = (
        Logic("larger magnitude first", compare(number - 1) + 2 * multiplex(number)),
        Logic("hidden ones", 2 * reduce(exponent)),
        Logic("distance, at most all bits", add(exponent) + compare(exponent) + multiplex(places)),
        Logic("align", shift(wide + fraction + 1, places)),
        Logic("sticky bit", reduce(wide + 1)),
        Logic("add or subtract", add(wide + 1)),
        Logic("+0 from an exact zero", reduce(wide + 1) + 1),
        Logic("leading zeros", leading_zeros(wide)),
        Logic("no further than the exponent allows", compare(exponent) + places),
        Logic("normalise", shift(wide, places) + multiplex(wide)),
        Logic("exponent", 2 * add(exponent + 1)),
        Logic("round", reduce(GUARD + 1) + add(number)),
        Logic("overflow", reduce(exponent + 1) + multiplex(number - 1)),
        Logic("special values", 2 * (reduce(exponent) + reduce(fraction)) + SPECIAL + multiplex(number)),
    )
    return Module("float_adder", overlay.pe_array.columns, registers, logic)
