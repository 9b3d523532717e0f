"""What crosses from one clock to another: Gray code, and the flip-flops that catch it."""

from typing import Any

from amaranth.hdl import Module, Signal, Value


def gray(number: Value) -> Value:
    """Gray code of ``number``: neighbours differ in one bit, so that one caught in motion is one of the two."""
    return number ^ number[1:]


def from_gray(code: Value) -> Value:
    """The number of a Gray code: each bit is the parity of the bits from it up."""
    number, shift = code, 1
    while shift < len(code):
        number, shift = number ^ number[shift:], shift * 2
    return number


def synchronised(m: Module, code: Any, stages: int, domain: str, name: str) -> Any:
    """Return ``code`` behind ``stages`` flip-flops of ``domain``, called ``<name>_seen_1``, ``_2``, …

    ``code`` must come from a register and change in one bit at a time.
    """
    for stage in range(1, stages + 1):
        caught = Signal(code.shape(), name=f"{name}_seen_{stage}", attrs={"ASYNC_REG": "TRUE"})
        m.d[domain] += caught.eq(code)
        code = caught
    return code
