"""Quantities for people: four significant digits, and a prefix for the largest of those shown together."""

from collections.abc import Sequence

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
PREFIXED = ("s", "B", "B/s", "MAC", "MAC/s")  # other units are printed as they are


def scale(values: Sequence[float], unit: str) -> tuple[float, str]:
    """Return (factor, unit) so that the largest of ``values`` divided by factor is between 1 and 1000.

    Fractions in the unit "%" become percent.
    """
    if unit == "%":
        return 0.01, unit
    largest = max((abs(value) for value in values), default=0.0)
    if unit not in PREFIXED or not largest:
        return 1.0, unit
    # bytes and operations are whole: they take no milli
    usable = [(factor, prefix) for factor, prefix in PREFIXES if unit == "s" or factor >= 1]
    return next(
        ((f, prefix + unit) for f, prefix in usable if largest >= f), (usable[-1][0], usable[-1][1] + unit)
    )


def number(value: float) -> str:
    """Print a number with four significant digits and thousands separated; counts are printed whole."""
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.3g}"
    whole = len(str(int(abs(value))))
    return f"{value:,.{max(0, 4 - whole)}f}"


def quantity(value: float, unit: str) -> str:
    """Print a value in base units with its unit, e.g. 0.0154 s as ``15.40 ms``."""
    factor, shown = scale([value], unit)
    return f"{number(value if factor == 1 else value / factor)} {shown}"


def times(ratio: float | None) -> str:
    """Print a ratio as ``1.23×``, or a dash where there is none."""
    return "–" if ratio is None else f"{ratio:,.3g}×" if ratio >= 10 else f"{ratio:.2f}×"
