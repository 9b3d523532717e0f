"""Fusion of several vision layers into a vision-language model.

External: projections of the chosen states are added to the projector's output, or joined with it by a module of
their own, before the decoder. Internal: they join the visual states at the entry of decoder layers instead.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skipopu.models.config import LlamaConfig
from skipopu.models.row_masks import Masks
from skipopu.models.row_method import Method, View
from skipopu.models.vision_tower import Mlp
from skipopu.models.visual_language import ImagePrompt, VisualLanguage, causal, exported
from skipopu.trace import EventKind, Trace
from skipopu.trace.families.layer_fusion import Joint, Knobs, fused, joints
from skipopu.trace.visual import Layout


class LayerFusion(VisualLanguage):
    """A vision-language model with a projector, and where modular a module 2D → D → D, a chosen vision layer."""

    def __init__(self, llama: LlamaConfig, vision: LlamaConfig, patch: int, knobs: Knobs) -> None:
        super().__init__(llama, vision, patch)
        self.joints = joints(knobs, llama.layers)
        d = llama.hidden_size
        self.projectors = nn.ModuleList(Mlp(d, vision.hidden_size, d) for _ in self.joints)
        self.joiners = nn.ModuleList(Mlp(d, 2 * d, d) for joint in self.joints if joint.modular)

    def visual(self, patches: Tensor) -> Tensor:
        """Return what enters the decoder [visual, hidden], external fusion done."""
        x = super().visual(patches)
        for index, joint in enumerate(self.joints):
            if joint.layer < 0:
                x = x + self.joined(index, x, self.feature(index, patches))
        return x

    def feature(self, index: int, patches: Tensor) -> Tensor:
        """Return the projected state [visual, hidden] of joint ``index``."""
        out: Tensor = self.projectors[index](self.tower(patches)[self.joints[index].vision_layer])
        return out

    def joined(self, index: int, x: Tensor, feature: Tensor) -> Tensor:
        """Return what joint ``index`` adds to visual states ``x`` [visual, hidden]."""
        if not self.joints[index].modular:
            return feature
        out: Tensor = self.joiners[index](torch.cat((x, feature), dim=1))
        return out


class Fusion(Method):
    """Runs everything; at the layers of ``plan`` vision states join the image's. ``plan`` may come from a trace."""

    def __init__(self, model: LayerFusion, prompt: ImagePrompt, layout: Layout, plan: Sequence[Joint]) -> None:
        masks: Masks = causal(layout, model.llama.config.layers)
        super().__init__(masks)
        self.model, self.prompt, self.layout, self.plan = model, prompt, layout, plan

    def enter(self, layer: int, tokens: Tensor, view: View) -> None:  # noqa: ARG002
        """Note the whole list, once."""
        if not layer and self.layout.image.start in tokens:
            self.events += [fused(joint, self.layout.visual) for joint in self.plan]

    def added(self, layer: int, tokens: Tensor, x: Tensor) -> Tensor:
        """Let the states of this layer's joints join those of the image."""
        if self.layout.image.start not in tokens:
            return x
        for index, joint in enumerate(self.plan):
            if joint.layer == layer:
                image = torch.from_numpy(self.layout.image_tokens()) - tokens[0]
                feature = self.model.feature(index, self.prompt.patches)
                x = x.index_add(0, image, self.model.joined(index, x[image], feature))
        return x


def recorded_plan(trace: Trace) -> list[Joint]:
    """Return what joined where, as a trace tells it."""
    found = [event for event in trace.events if event.kind is EventKind.FUSE]
    return [Joint(event.k, event.layer, bool(event.outcome)) for event in found]


def export_layer_fusion(model: LayerFusion, prompt: ImagePrompt, decode: int, source: str) -> Trace:
    """Prefill ``prompt``, decode greedily, and return the trace of what ran."""
    layout = prompt.layout(decode)
    run = model.generate(Fusion(model, prompt, layout, model.joints), prompt, decode).run
    return exported(model.header("layer_fusion", layout, source), run, explicit=False)
