"""Which of the PE array's arithmetics is meant: the choices an overlay makes, as kernels take them."""

from typing import NamedTuple

from skipopu.spec.overlay import Overlay


class Arithmetic(NamedTuple):
    """The choices that change bits; source: `pe_array` and `psum` of the overlay."""

    product_bits: int  # magnitude bits of a product that enter the tree, 15 … 22
    nearest_alignment: bool  # round half away from zero at the shared exponent; False: truncate
    nearest_output: bool  # round a column's sum to nearest even; False: toward zero
    fp16_psum: bool  # partial sums in FP16; False: FP32
    interleave: int  # PSUM entries of a row, added up when it leaves


def arithmetic_of(overlay: Overlay) -> Arithmetic:
    """Return the choices of ``overlay``."""
    pe = overlay.pe_array
    return Arithmetic(
        product_bits=pe.product_bits,
        nearest_alignment=pe.alignment_rounding == "nearest",
        nearest_output=pe.output_rounding == "nearest_even",
        fp16_psum=overlay.psum.format == "fp16",
        interleave=overlay.psum.interleave,
    )
