"""The two checks that nearly every value of a trace needs."""

from skipopu.spec.error import SpecError
from skipopu.trace.record import closest


def one_of(key: str, value: str, valid: tuple[str, ...]) -> None:
    """Raise SpecError unless ``value`` is one of ``valid``."""
    if value not in valid:
        raise SpecError(f"{key} = {value!r}; expected one of {', '.join(valid)}{closest(str(value), valid)}")


def in_range(key: str, value: int, low: int, high: int) -> None:
    """Raise SpecError unless ``low <= value <= high``."""
    if type(value) is not int:
        raise SpecError(f"{key} = {value!r}; expected a whole number in {low}..{high}")
    if not low <= value <= high:
        raise SpecError(f"{key} = {value}; must be in {low}..{high}; nearest: {min(max(value, low), high)}")
