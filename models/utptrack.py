"""UTPTrack: a vision transformer over templates and search region that prunes its tokens as it goes.

After the attention of a filter layer, the weights of the static template's centre token, mean over heads, rank the
other tokens of both templates and the search region together; the best stay, in order, from the next layer on.
"""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from skipopu.models.row_masks import Masks
from skipopu.models.row_method import Method, Rows, View
from skipopu.models.row_sets import RowSets
from skipopu.models.vision_tower import VisionTower
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import MaskClass, Provenance, StepPhase, Trace
from skipopu.trace.families.utptrack import Knobs, frame_events, frames


class UTPTrack(Method):
    """``frame``: tokens of a frame; ``count``: frames, each of which is decided by itself."""

    def __init__(self, knobs: Knobs, layers: int, frame: int, count: int = 1) -> None:
        super().__init__(Masks.of((), frame * count, (int(MaskClass.CAUSAL),) * layers, both=True))
        self.knobs, self.layers, self.frame = knobs, layers, frame
        self.here = torch.arange(frame)
        self.stages: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def enter(self, layer: int, tokens: Tensor, view: View) -> None:  # noqa: ARG002
        """Begin a frame with all its tokens; below filter layers nothing changes."""
        if not layer:
            self.here, self.stages = tokens, {}

    def rows(self, layer: int, tokens: Tensor) -> Rows:  # noqa: ARG002
        """Return the tokens that are left; a filter layer's own FFN still runs for those that it removes."""
        present = torch.isin(tokens, self.here)
        return Rows(present, present, present)

    def attended(self, layer: int, tokens: Tensor, view: View) -> None:
        """Rank the tokens at a filter layer."""
        if layer not in self.knobs.filters:
            return
        centre = int(tokens[0]) + self.knobs.centre
        keys, weights, _ = view.row_weights(centre)
        mean = torch.zeros(int(tokens[-1]) + 1, dtype=weights.dtype).index_put((keys,), weights.mean(0))
        others = self.here[self.here != centre]
        best = others[mean[others].topk(self.knobs.kept(len(self.here)) - 1).indices]
        self.here = torch.cat((best, torch.tensor([centre]))).sort().values
        self.stages[layer] = self.here.numpy()
        if layer == max(self.knobs.filters):
            self.events += frame_events(self.stages, self.layers, int(tokens[0]) // self.frame, self.frame)


def track(tower: VisionTower, method: Method, frames_: list[Tensor]) -> tuple[list[Tensor], RowSets]:
    """Run frames of patches [frame, patch]; return the states [frame, hidden] of each, and the run."""
    run = RowSets(tower.stack, method)
    return [run.extend(tower.embed(patches), StepPhase.ENCODE, fresh=True) for patches in frames_], run


def export_utptrack(tower: VisionTower, patches: list[Tensor], knobs: Knobs, source: str) -> Trace:
    """Track over frames of ``patches`` and return the trace of what ran."""
    method = UTPTrack(knobs, tower.config.layers, len(patches[0]), len(patches))
    _, run = track(tower, method, patches)
    provenance = Provenance("synthetic", knobs=asdict(knobs), source=source)
    return frames(encoder_shape(tower, source), provenance, knobs, run.recorder.rows("q"), method.events, len(patches))


def encoder_shape(tower: VisionTower, source: str) -> ModelShape:
    """Return the shape of an encoder: layer norms, GELU, biases, learned positions, no words."""
    c = tower.config
    return ModelShape.from_values(
        "tiny", source, layers=c.layers, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
        attention_heads=c.attention_heads, kv_heads=c.kv_heads, head_dim=c.head_dim, vocabulary=2,
        tied_embeddings=True, qkv_bias=False, qk_norm=False, norm="layer", activation="gelu", linear_bias=True,
        learned_positions=c.vocabulary,
    )  # fmt: skip
