"""A random case that fails, made smaller as long as it still fails: what is left is quicker to run and to read."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from skipopu.hdl.cosim.overlay_seed import Seed

ATTEMPTS = 40  # runs of the RTL; a run takes seconds
# what makes a case smaller, the dearest first: field → its least value
LEAST: dict[str, Any] = {
    "decode": 0, "layers": 1, "prompt": 1, "intermediate_size": 16, "hidden_size": 16, "vocabulary": 8,
}  # fmt: skip
SIMPLER: dict[str, Any] = {"qkv_bias": False, "ffn_input": "post_attention", "kv_policy": "dense"}


def shrink(seed: Seed, fails: Callable[[Seed], bool], attempts: int = ATTEMPTS) -> Seed:
    """Return the smallest case found that still fails; ``fails`` is asked at most ``attempts`` times."""
    while True:
        for smaller in _smaller(seed):
            if attempts == 0:
                return seed
            attempts -= 1
            if fails(smaller):
                seed = smaller
                break
        else:
            return seed


def _smaller(seed: Seed) -> Iterator[Seed]:
    """Cases that differ in one thing: at its least, half way to it, one less; or simpler."""
    for name, least in LEAST.items():
        value = getattr(seed, name)
        for other in sorted({least, (least + value) // 2, value - 1}):
            if least <= other < value:
                yield replace(seed, **{name: other})
    for name, simple in SIMPLER.items():
        if getattr(seed, name) != simple:
            yield replace(seed, **{name: simple})
