"""What a routed model is told to run: nothing, so that it decides by itself, or the decisions of a trace."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipopu.trace import Trace

GROUPS = ("head_groups", "ffn_groups", "experts")


@dataclass(frozen=True)
class Decisions:
    """Prescribed bits by name, [layers, tokens] or [layers, tokens, parts]; what is not given the model decides.

    Names: ``attention``, ``ffn``, ``approx_attention``, ``approx_ffn``, ``head_groups``, ``ffn_groups``, ``experts``.
    """

    given: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __call__(self, name: str, layer: int, tokens: Tensor, own: Callable[[], Tensor]) -> Tensor:
        """Return the bits of ``tokens`` [T] in ``layer``: prescribed, or ``own``, the model's decision."""
        if name not in self.given:
            return own()
        return torch.from_numpy(np.asarray(self.given[name][layer][tokens.numpy()]))

    @classmethod
    def of(cls, trace: Trace) -> "Decisions":
        """Return the decisions that a trace recorded."""
        given: dict[str, Any] = {"attention": trace.rows("q"), "ffn": trace.rows("ffn")}
        given |= {name: trace.array(name) for name in GROUPS if name in trace.arrays}
        approximated = trace.array("approx_rows")
        if approximated is not None:
            given |= {"approx_attention": approximated[0], "approx_ffn": approximated[1]}
        return cls(given)
