"""Operands of the matrix products of a model on real text, for whoever measures arithmetic with them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skipopu.models.checkpoint import Checkpoint

TEXT = Path(__file__)  # any text will do; this one is always there


class Operands(NamedTuple):
    """What meets in a linear layer."""

    layer: str
    activations: NDArray[np.float32]  # [tokens, in]
    weights: NDArray[np.float32]  # [out, in]


def projection_operands(checkpoint: Checkpoint, names: tuple[str, ...], tokens: int) -> list[Operands]:
    """Run the model on ``tokens`` tokens of text; return the operands of every linear layer whose name ends so.

    ``names`` as in ``("q_proj", "down_proj")``.
    """
    model, seen = checkpoint.model, {}
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.rsplit(".", 1)[-1] in names}

    def keep(layer: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        seen[layer] = given[0].reshape(-1, given[0].shape[-1]).detach().float().numpy()

    hooks = [layer.register_forward_hook(keep) for layer in layers.values()]
    ids = checkpoint.encode(TEXT.read_text(encoding="utf-8"))[:tokens]
    with torch.no_grad():
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    weights = {name: layer.weight.detach().float().numpy() for name, layer in layers.items()}
    return [Operands(name, seen[layer], weights[name]) for name, layer in layers.items() if layer in seen]
