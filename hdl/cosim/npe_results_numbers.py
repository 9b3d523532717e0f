"""Numbers for the result path: every kind of FP32 and FP16 number, and few magnitudes that cancel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_function_operands import FORMS, numbers

Words = NDArray[Any]
TYPES: dict[str, tuple[Any, Any]] = {"fp16": (np.float16, np.uint16), "fp32": (np.float32, np.uint32)}
FEW = (0.0, 1.0, 1.0009765625, 2.0)
SPECIAL_RATES = (0.001, 0.02, 0.3)
KINDS = 4


class Numbers:
    """Draws arrays of bits, each array of one kind."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._anything = {
            name: np.array([word for (word,) in numbers(name)(rng)], TYPES[name][1]) for name in TYPES
        }  # fmt: skip

    def draw(self, name: str, shape: tuple[int, ...], kind: int) -> Words:
        """Return numbers of format ``name``; NaN is the canonical one. ``kind`` is below `KINDS`."""
        found = (self._normal, self._cancelling, self._mixed, self._any)[kind](name, shape)
        form = FORMS[name]
        return np.where((found & (form.sign - 1)) > form.infinity, found.dtype.type(form.nan), found)

    def _normal(self, name: str, shape: tuple[int, ...]) -> Words:
        number, bits = TYPES[name]
        scale = 2.0 ** self._rng.integers(-6, 4)
        found: Words = (self._rng.standard_normal(shape) * scale).astype(number).view(bits)
        return found

    def _any(self, name: str, shape: tuple[int, ...]) -> Words:
        found: Words = self._rng.choice(self._anything[name], shape)
        return found

    def _mixed(self, name: str, shape: tuple[int, ...]) -> Words:
        """Normal numbers, some of any other kind among them."""
        rare = self._rng.random(shape) < self._rng.choice(SPECIAL_RATES)
        return np.where(rare, self._any(name, shape), self._normal(name, shape))

    def _cancelling(self, name: str, shape: tuple[int, ...]) -> Words:
        """A few magnitudes, signs at random: sums near zero, and zero itself."""
        number, bits = TYPES[name]
        few: Words = self._rng.choice(np.array(FEW, number), shape).view(bits)
        signs: Words = (self._rng.integers(0, 2, shape) * FORMS[name].sign).astype(bits)
        return few | signs
