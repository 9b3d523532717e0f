"""Low-rank adapters (stage 2): y = W x + (α/r) B A dropout(x), merged into W for inference."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skipopu.spec.error import SpecError


@dataclass(frozen=True)
class LoraSettings:
    """Stage 2 of SkipGPT: rank 16, α 32, dropout 0.1 on q, v and gate projections (models.md §1)."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.1
    targets: tuple[str, ...] = ("q_proj", "v_proj", "gate_proj")


class LoraLinear(nn.Module):
    """A frozen linear layer plus a trainable low-rank update that starts at zero."""

    def __init__(self, base: nn.Linear, settings: LoraSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = settings.alpha / settings.rank
        self.dropout = nn.Dropout(settings.dropout)
        down = torch.randn(settings.rank, base.in_features, generator=generator) / base.in_features**0.5
        self.down = nn.Parameter(down.to(base.weight))
        self.up = nn.Parameter(torch.zeros(base.out_features, settings.rank).to(base.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` [..., in_features]."""
        update = self.dropout(x) @ self.down.T @ self.up.T
        out: Tensor = self.base(x) + self.scale * update
        return out

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the base layer with the update added to its weight."""
        self.base.weight += self.scale * (self.up @ self.down)
        return self.base


def add_lora(model: nn.Module, settings: LoraSettings, seed: int) -> list[nn.Parameter]:
    """Wrap every target layer of ``model`` in place; return the trainable adapter parameters."""
    generator = torch.Generator().manual_seed(seed)
    added: list[nn.Parameter] = []
    for parent, name in _linears(model, settings.targets):
        adapter = LoraLinear(getattr(parent, name), settings, generator)
        setattr(parent, name, adapter)
        added += [adapter.down, adapter.up]
    if not added:
        raise SpecError(
            f"LoRA targets = {settings.targets}; the model has none of them; use q_proj, v_proj, gate_proj"
        )
    return added


def merge_lora(model: nn.Module) -> None:
    """Replace every adapter of ``model`` by its merged linear layer, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                setattr(parent, name, child.merged())


def _linears(model: nn.Module, targets: tuple[str, ...]) -> list[tuple[nn.Module, str]]:
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if name in targets and isinstance(child, nn.Linear)
    ]
