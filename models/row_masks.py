"""What attention between image and text looks like under each mask class of a trace."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skipopu.trace import MaskClass, Segment, Trace
from skipopu.trace.visual import visual_segments


@dataclass(frozen=True)
class Masks:
    """Which keys queries see, and what becomes of their weights; tokens are given by number.

    ``segment`` and ``visual`` [tokens]: number of each token's segment, and whether it is visual. ``classes`` [layers].
    ``bidirectional``: queries see later keys too.
    """

    segment: Tensor
    visual: Tensor
    classes: tuple[int, ...]
    bidirectional: bool = False

    @classmethod
    def of(cls, segments: tuple[Segment, ...], tokens: int, classes: tuple[int, ...], both: bool = False) -> "Masks":
        """Make masks of ``tokens`` tokens in ``segments``; tokens in none belong to the one before."""
        number, visual = torch.zeros(tokens, dtype=torch.long), torch.zeros(tokens, dtype=torch.bool)
        for index, part in enumerate(segments):
            number[part.first :] = index
            visual[part.first : part.first + part.count] = part.type in ("visual", "frame")
        return cls(number, visual, classes, both)

    @classmethod
    def recorded(cls, trace: Trace, both: bool = False) -> "Masks":
        """Return the masks of a trace."""
        classes = trace.array("mask_class")
        listed = [int(MaskClass.CAUSAL)] * trace.layers if classes is None else classes.tolist()
        made = cls.of(trace.header.segments, trace.tokens, tuple(listed), both)
        return cls(made.segment, torch.from_numpy(visual_segments(trace)), made.classes, both)

    def visible(self, layer: int, queries: Tensor, keys: Tensor) -> Tensor:
        """Return which of ``keys`` [N] each of ``queries`` [R] may see before softmax, [R, N]."""
        seen = torch.ones(len(queries), len(keys), dtype=torch.bool)
        if not self.bidirectional:
            seen = keys[None, :] <= queries[:, None]
        if self.classes[layer] == MaskClass.BAND:
            seen = seen & (self.segment[keys][None, :] == self.segment[queries][:, None])
        return seen

    def reweigh(self, layer: int, weights: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """Return softmax weights [heads, R, N] without what the class removes; nothing is normalised again.

        ``MERGED_SINK``: text's weights of visual keys are summed onto the first of them; ``NONE``: they are zero; under
        both, visual queries see no visual keys.
        """
        kind = self.classes[layer]
        if kind not in (MaskClass.MERGED_SINK, MaskClass.NONE):
            return weights
        image = self.visual[keys]
        kept = weights.masked_fill(image, 0.0)
        if kind == MaskClass.NONE or not image.any():
            return kept
        first = int(image.nonzero()[0, 0])
        mass = weights[..., image].sum(-1) * ~self.visual[queries]
        kept[..., first] = mass
        return kept
