"""One model on one text, computed by PyTorch or in the overlay's numerics: everything that can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skipopu.models.routing import ATTENTION, FFN, Argmax, Prescribed, Recorded, Site
from skipopu.models.skipgpt import SkipGPT
from skipopu.numerics.decoder import Decoder, Output
from skipopu.numerics.decoder_parameters import Routing
from skipopu.program.parameters import ModelParameters
from skipopu.spec.overlay import Overlay

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]
Done = Callable[[], None]  # called after each window


@dataclass(frozen=True)
class Run:
    """Of T tokens, all windows in a row: logits, the residual stream before and behind every layer, decisions.

    ``decided`` is what the routers say, ``executed`` what was done; they differ where routing is forced.
    """

    logits: Reals  # [T, vocabulary]
    hidden: Reals  # [layers + 1, T, D]
    decided: Bools  # [2, layers, T], attention first
    executed: Bools  # [2, layers, T]


def joined(runs: Sequence[Run]) -> Run:
    """Return the runs of several windows as one."""
    axes = {"logits": 0, "hidden": 1, "decided": 2, "executed": 2}
    return Run(**{f.name: np.concatenate([getattr(r, f.name) for r in runs], axes[f.name]) for f in fields(Run)})


def torch_run(model: SkipGPT, windows: Tensor, forced: Bools | None, done: Done) -> Run:
    """Run PyTorch on token windows [W, T], in the model's type and place."""
    found = []
    for index, window in enumerate(windows):
        found.append(_torch_window(model, window, _part(forced, index, windows)))
        done()
    return joined(found)


def overlay_run(
    overlay: Overlay, parameters: ModelParameters, routing: Routing, windows: Tensor, decode: int,
    forced: Bools | None, done: Done,
) -> Run:  # fmt: skip
    """Run the overlay's numerics on token windows [W, T], each a sequence whose last ``decode`` tokens are decoded."""
    found = []
    for index, window in enumerate(windows):
        gates = _part(forced, index, windows)
        outputs = overlay_outputs(overlay, parameters, routing, window.tolist(), decode, gates)
        found.append(joined([_of_output(output) for output in outputs]))
        done()
    return joined(found)


def overlay_outputs(
    overlay: Overlay, parameters: ModelParameters, routing: Routing, ids: Sequence[int], decode: int,
    gates: Bools | None = None,
) -> list[Output]:  # fmt: skip
    """Prefill all but the last ``decode`` of ``ids``, then decode these one by one.

    Row blocks are those of the dataflow, for sequences of any length; the compiler takes fewer rows where buffers leave
    no room for them, and last bits differ then: `skipopu.program.numerical_run` has its blocks.
    """
    decoder = Decoder(overlay, parameters, routing, len(ids), overlay.dataflow.row_block)
    first = len(ids) - decode

    def of(tokens: slice) -> Bools | None:
        return None if gates is None else gates[:, :, tokens]

    outputs = [decoder.prefill(ids[:first], all_rows=True, gates=of(slice(first)))] if first else []
    return outputs + [decoder.decode(ids[n], gates=of(slice(n, n + 1))) for n in range(first, len(ids))]


def _part(forced: Bools | None, index: int, windows: Tensor) -> Bools | None:
    length = windows.shape[1]
    return None if forced is None else forced[:, :, index * length : (index + 1) * length]


def _of_output(output: Output) -> Run:
    logits, hidden = (bits.view(np.float16).astype(np.float64) for bits in (output.logits, output.hidden))
    return Run(logits, hidden, output.decided, output.executed)


@torch.inference_mode()
def _torch_window(model: SkipGPT, window: Tensor, gates: Bools | None) -> Run:
    device = model.llama.model.embed_tokens.weight.device
    hidden: list[Tensor] = []
    decoder = model.llama.model
    norms = [*(layer.input_layernorm for layer in decoder.layers), decoder.norm]
    hooks = [norm.register_forward_pre_hook(_keep(hidden)) for norm in norms]
    rule = Recorded(Argmax() if gates is None else Prescribed(torch.from_numpy(gates[:, :, None]).to(device)))
    try:
        output = model(window[None].to(device), rule)
    finally:
        for hook in hooks:
            hook.remove()
    executed = output.executed[:, :, 0].cpu().numpy()
    decided = np.ones_like(executed)
    for module in (ATTENTION, FFN):
        for layer in range(model.config.layers):
            logits = rule.logits.get(Site(layer, module))
            if logits is not None:
                decided[module, layer] = (logits[0, :, 0] >= logits[0, :, 1]).cpu().numpy()
    return Run(_wide(output.logits[0]), np.stack([_wide(x[0]) for x in hidden]), decided, executed)


def _keep(hidden: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook in front of a norm: all rows of the residual stream pass there."""

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        hidden.append(given[0].detach().clone())

    return keep


def _wide(tensor: Tensor) -> Reals:
    found: Reals = tensor.double().cpu().numpy()
    return found
