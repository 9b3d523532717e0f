"""The router in front of a module: two logits per token, index 0 = execute, index 1 = skip."""

import torch
from torch import Tensor, nn

from skipopu.models.config import LlamaConfig, SkipConfig

BOTTLENECK = 16  # inner width of PruningInferSim's router
MLP_DIVISOR = 4  # the public SkipGPT code's router is D → D/4 → 2


class Router(nn.Module):
    """Two logits from the raw residual stream.

    ``linear``: D→2 (the SkipGPT paper, SkipOPU). ``mlp``: D→D/4, ReLU, →2 (SkipGPT's public code).
    ``bottleneck``: D→16→2 without nonlinearity (PruningInferSim, WIDE).
    """

    def __init__(self, kind: str, hidden_size: int) -> None:
        super().__init__()
        inner = router_width(kind, hidden_size)
        if kind == "linear":
            self.layers = nn.Sequential(nn.Linear(hidden_size, 2))
        elif kind == "mlp":
            self.layers = nn.Sequential(nn.Linear(hidden_size, inner), nn.ReLU(), nn.Linear(inner, 2))
        else:
            self.layers = nn.Sequential(nn.Linear(hidden_size, inner), nn.Linear(inner, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [..., 2] of the residual stream ``x`` [..., D]."""
        logits: Tensor = self.layers(x)
        return logits

    def shift(self, amount: float) -> None:
        """Add ``amount`` to the execute logit of every token."""
        with torch.no_grad():
            self.layers[-1].bias[0] += amount

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Start every token at an even chance, whatever the size of its residual stream.

        The last layer and all biases are zero (Kaiming in SkipGPT's public code, which saturates where the
        residual stream is large); an inner layer has Kaiming weights.
        """
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, (2 / layer.in_features) ** 0.5, generator=generator)
                layer.bias.zero_()
        self.layers[-1].weight.zero_()


class Routers(nn.Module):
    """One router per layer and module, none shared; always-on modules keep theirs, unused."""

    def __init__(self, llama: LlamaConfig, skip: SkipConfig) -> None:
        super().__init__()
        count = 0 if skip.router == "none" else llama.layers
        self.attention = nn.ModuleList(Router(skip.router, llama.hidden_size) for _ in range(count))
        self.ffn = nn.ModuleList(Router(skip.router, llama.hidden_size) for _ in range(count))

    def initialize(self, seed: int) -> None:
        """Draw all routers from one seeded generator."""
        generator = torch.Generator().manual_seed(seed)
        for router in (*self.attention, *self.ffn):
            router.initialize(generator)


def router_width(kind: str, hidden_size: int) -> int:
    """Return the inner width of a router: 0 for a linear one or none."""
    return {"none": 0, "linear": 0, "mlp": hidden_size // MLP_DIVISOR, "bottleneck": BOTTLENECK}[kind]
