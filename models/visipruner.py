"""VisiPruner: shallow layers keep image and text apart; then the tokens that change the last token's output stay.

The influence of visual token j is what its removal does to the attention output o of the last prompt token, all heads
together: o' = o − w_j v_j. The first layer after the shallow ones in which some o' turns away from o is the filter
layer; tokens with a long o' − o stay. They leave after two layers in a row in which none of them turns o.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from skipopu.models.row_method import Method, Rows, View
from skipopu.models.visual_language import ImagePrompt, VisualLanguage, exported, masks_of
from skipopu.trace import ScoreOp, Trace
from skipopu.trace.families.visipruner import masks
from skipopu.trace.visual import Layout, exited, pruned, scored

QUIET_LAYERS = 2  # in a row before the exit (2510.17205)


@dataclass(frozen=True)
class Thresholds:
    """Public code: ``shallow`` layers; cosine below which a token turns the output, distance above which it stays.

    ``quiet``: cosine from which a kept token no longer matters (paper).
    """

    shallow: int = 6
    turns: float = 0.995
    distance: float = 0.2
    quiet: float = 0.999


class VisiPruner(Method):
    """Decides in the prefill; where no layer filters, the image stays to the end."""

    def __init__(self, thresholds: Thresholds, layout: Layout, layers: int) -> None:
        super().__init__(masks_of(layout, masks(thresholds.shallow, layers).tolist()))
        self.thresholds, self.layout, self.layers = thresholds, layout, layers
        self.here = torch.arange(layout.image.start, layout.image.stop)
        self.filter_layer: int | None = None
        self.exit_layer: int | None = None
        self._quiet = 0
        self._next = self.here

    def enter(self, layer: int, tokens: Tensor, view: View) -> None:  # noqa: ARG002
        """Let what the layer before decided take effect."""
        self.here = self._next

    def rows(self, layer: int, tokens: Tensor) -> Rows:  # noqa: ARG002
        """Return text, and the image tokens that are there."""
        present = ~self.masks.visual[tokens] | torch.isin(tokens, self.here)
        return Rows(present, present, present)

    def attended(self, layer: int, tokens: Tensor, view: View) -> None:
        """Score the image tokens of a middle layer, and decide what enters the next."""
        if self.layout.prompt - 1 not in tokens or layer <= self.thresholds.shallow or not len(self.here):
            return
        self.events.append(scored(layer, ScoreOp.INFLUENCE, 1, len(self.here)))
        cosine, distance = self._influence(view)
        if self.filter_layer is None:
            if bool((cosine < self.thresholds.turns).any()):
                self._filter(layer, distance)
        else:
            self._quiet = self._quiet + 1 if bool((cosine >= self.thresholds.quiet).all()) else 0
            if self._quiet == QUIET_LAYERS and layer + 1 < self.layers:
                self.exit_layer, self._next = layer + 1, self.here[:0]
                self.events.append(exited(layer + 1, self.here.numpy()))

    def _influence(self, view: View) -> tuple[Tensor, Tensor]:
        """Return cosine of o' to o, and their distance, of every token that is there."""
        keys, weights, values = view.row_weights(self.layout.prompt - 1)
        shares = torch.einsum("hn,nhd->nhd", weights, values).flatten(1)
        whole, mine = shares.sum(0), shares[torch.isin(keys, self.here)]
        return cosine_similarity(whole - mine, whole[None], dim=1), mine.norm(dim=1)

    def _filter(self, layer: int, distance: Tensor) -> None:
        stays = distance > self.thresholds.distance
        stays[distance.argmax()] = True  # one turned the output: at least the most influential stays
        self.filter_layer = layer
        if layer + 1 < self.layers:
            self._next = self.here[stays]
            self.events.append(pruned(layer + 1, len(self.here), self._next.numpy()))


def export_visipruner(
    model: VisualLanguage, prompt: ImagePrompt, decode: int, thresholds: Thresholds, source: str
) -> Trace:
    """Prefill ``prompt``, decode greedily, and return the trace of what ran."""
    layout = prompt.layout(decode)
    run = model.generate(VisiPruner(thresholds, layout, model.llama.config.layers), prompt, decode).run
    return exported(model.header("visipruner", layout, source), run, explicit=True)
