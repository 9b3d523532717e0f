"""A method that repeats the decisions of a trace instead of taking its own."""

import torch
from torch import Tensor

from skipopu.models.row_masks import Masks
from skipopu.models.row_method import Method, Rows
from skipopu.trace import StepPhase, Trace


class Prescribed(Method):
    """Runs the rows that ``trace`` recorded, under its masks and at its positions; tokens are those of the trace.

    ``before``: tokens that ran before the trace began (a reused prefix); they and their rows are not its business.
    """

    def __init__(self, trace: Trace, masks: Masks | None = None, before: int = 0) -> None:
        encoder = bool((trace.steps.phase == StepPhase.ENCODE).all())
        super().__init__(masks or Masks.recorded(trace, encoder))
        self._rows = [torch.from_numpy(trace.rows(kind).copy()) for kind in ("q", "kv", "ffn")]
        positions = trace.array("positions")
        self._positions = None if positions is None else torch.from_numpy(positions.astype("int64"))
        self._before = before

    def rows(self, layer: int, tokens: Tensor) -> Rows:
        """Return the recorded rows."""
        return Rows(*(rows[layer, tokens - self._before] for rows in self._rows))

    def positions(self, tokens: Tensor) -> Tensor:
        """Return the recorded positions."""
        return tokens if self._positions is None else self._positions[tokens - self._before]
