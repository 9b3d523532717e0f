"""HiDrop: the image enters late, is thinned in stages, and leaves early.

At the entry of a filter layer the last prompt token attends to the image tokens that are left, with that layer's norm,
query and keys; the mean over heads ranks them, and the best stay in their order and at their positions.
"""

import torch
from torch import Tensor

from skipopu.models.row_method import Method, Rows, View
from skipopu.models.visual_language import ImagePrompt, VisualLanguage, causal, exported
from skipopu.trace import Event, EventKind, ScoreOp, Trace
from skipopu.trace.families.hidrop import Knobs, check
from skipopu.trace.visual import Layout, exited, pruned, scored


class HiDrop(Method):
    """``knobs`` give the stages; which tokens stay is decided in the prefill. SpecError for unsound stages."""

    def __init__(self, knobs: Knobs, layout: Layout, layers: int) -> None:
        check(knobs, layers)
        super().__init__(causal(layout, layers))
        self.knobs, self.layout = knobs, layout
        self.here = torch.arange(0)
        self._keep = dict(zip(knobs.filters, knobs.keep, strict=True))

    def enter(self, layer: int, tokens: Tensor, view: View) -> None:
        """Bring the image in, prune it, or let it go."""
        if self.layout.prompt - 1 not in tokens:
            return
        if layer == self.knobs.inject:
            self.here = torch.arange(self.layout.image.start, self.layout.image.stop)
            self.events.append(Event(EventKind.INSERT, 0, layer=layer, kept=tuple(self.here.tolist())))
        elif layer in self._keep:
            self._filter(layer, self._keep[layer], view)
        elif layer == self.knobs.exit:
            self.events.append(exited(layer, self.here.numpy()))
            self.here = self.here[:0]

    def _filter(self, layer: int, keep: int, view: View) -> None:
        scores = view.entry_weights(self.layout.prompt - 1, self.here).mean(0)
        chosen = self.here[scores.topk(keep).indices.sort().values]
        self.events.append(scored(layer, ScoreOp.LAST_TOKEN_ATTENTION, 1, len(self.here), keep))
        self.events.append(pruned(layer, len(self.here), chosen.numpy()))
        self.here = chosen

    def rows(self, layer: int, tokens: Tensor) -> Rows:  # noqa: ARG002
        """Return text, and the image tokens that are there."""
        present = ~self.masks.visual[tokens] | torch.isin(tokens, self.here)
        return Rows(present, present, present)


def export_hidrop(model: VisualLanguage, prompt: ImagePrompt, decode: int, knobs: Knobs, source: str) -> Trace:
    """Prefill ``prompt``, decode greedily, and return the trace of what ran."""
    layout = prompt.layout(decode)
    run = model.generate(HiDrop(knobs, layout, model.llama.config.layers), prompt, decode).run
    return exported(model.header("hidrop", layout, source), run, explicit=True)
