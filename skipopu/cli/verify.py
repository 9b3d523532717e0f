"""`skipopu verify`: the overlay's numerics against PyTorch, layer by layer, on held-out text."""

import dataclasses
import json as json_text
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipopu.cli.options import OverlayName, Settings
from skipopu.cli.terminal import progress, say
from skipopu.cli.trace import SHIPPED, SHIPPED_NAME, Routers
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.models.checkpoint import Checkpoint
    from skipopu.models.corpus import Corpus
    from skipopu.models.quantization import QuantisedModel
    from skipopu.spec.overlay import Overlay

TOKENS, DECODE, WINDOWS = 256, 32, 4
CALIBRATION_WINDOWS, CALIBRATION_TOKENS = 16, 256  # GPTQ's text: 4096 tokens, several times the widest input


class Device(StrEnum):
    """Where PyTorch computes; the overlay's numerics are always computed on the CPU."""

    CPU = "cpu"
    CUDA = "cuda"


class Method(StrEnum):
    """How weights become INT4."""

    RTN = "rtn"
    GPTQ = "gptq"


Name = Annotated[str, typer.Argument(metavar="MODEL", help=f"A local checkpoint, or {SHIPPED!r}.")]
Layers = Annotated[int | None, typer.Option(min=1, help="Only the first so many layers, final norm, LM head.")]


def verify(
    model: Name,
    device: Annotated[Device, typer.Option(help="Where PyTorch computes.")] = Device.CPU,
    overlay: OverlayName = "tiny",
    settings: Settings = None,
    layers: Layers = None,
    method: Annotated[Method, typer.Option(help="To nearest, or GPTQ on training text.")] = Method.GPTQ,
    tokens: Annotated[int, typer.Option(min=1, help="Of each window of held-out text.")] = TOKENS,
    decode: Annotated[int, typer.Option(min=0, help="Of them, decoded one by one; the others are prefilled.")] = DECODE,
    windows: Annotated[int, typer.Option(min=1, help="Windows of held-out text.")] = WINDOWS,
    routers: Routers = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")] = False,
) -> None:
    """Compare the overlay's numerics with PyTorch on held-out text.

    PyTorch in float32 and float16, PyTorch with INT4 weights, and the overlay's numerics with the same INT4 weights:
    hidden states and routing by layer, logits, held-out loss. Fails where a run's logits are not all numbers; the
    errors themselves are reported, not judged.
    """
    from skipopu.spec.overlay import Overlay

    if decode > tokens:
        raise SpecError(f"--decode {decode}: of {tokens} tokens; must be in 0..{tokens}")
    machine = Overlay.load(overlay, tuple(settings or ()))
    found, finite = _verified(model, device, machine, layers, method, (windows, tokens, decode), routers)
    if json:
        sys.stdout.write(json_text.dumps(_plain(found), indent=1) + "\n")
    else:
        _show(found)
    if not finite:
        sys.stderr.write("skipopu: verify: logits that are infinite or NaN\n")
        raise typer.Exit(1)


def _verified(
    name: str, device: Device, overlay: "Overlay", layers: int | None, method: Method, text: tuple[int, int, int],
    routers: Path | None,
) -> tuple[dict[str, Any], bool]:  # fmt: skip
    """The record, and whether all logits are numbers."""
    windows, tokens, decode = text
    checkpoint = _opened(name, device, layers, routers)
    from skipopu.models.corpus import read_corpus
    from skipopu.models.verification import verify as compare
    from skipopu.models.verification_text import held_out_windows
    from skipopu.numerics.jit import announce_first_compilation

    corpus = read_corpus()
    quantised = _quantised(checkpoint, corpus, method, min(tokens, CALIBRATION_TOKENS))
    announce_first_compilation()
    shown = held_out_windows(checkpoint, corpus, windows, tokens)
    with progress("verify") as bar:
        found = compare(checkpoint.model, quantised, overlay, shown, decode, device=device.value, progress=bar)
    heading = {
        "schema": 1, "model": checkpoint.name, "layers": checkpoint.model.config.layers, "method": method.value,
        "overlay": overlay.name, "device": device.value,
        "text": {
            "windows": windows, "tokens": tokens, "prefill": tokens - decode, "decode": decode,
            "bytes_are_tokens": not checkpoint.is_huggingface,
        },
    }  # fmt: skip
    return heading | found.record(), found.finite


def _opened(name: str, device: Device, layers: int | None, routers: Path | None) -> "Checkpoint":
    try:
        import torch

        from skipopu.models.checkpoint import open_checkpoint
        from skipopu.models.quantization import first_layers
    except ModuleNotFoundError as error:
        raise SpecError(f"verify needs {error.name}; pip install 'skipopu[models]'") from None
    if device is Device.CUDA and not torch.cuda.is_available():
        raise SpecError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    opened = open_checkpoint(SHIPPED_NAME if name == SHIPPED else name, routers=routers)
    if layers is None:
        return opened
    return dataclasses.replace(opened, model=first_layers(opened.model, layers))


def _quantised(checkpoint: "Checkpoint", corpus: "Corpus", method: Method, length: int) -> "QuantisedModel":
    from skipopu.models.quantization import quantise
    from skipopu.models.verification_text import calibration_windows

    if method is Method.RTN:
        return quantise(checkpoint.model, method.value)
    with progress("quantise") as bar:
        windows = calibration_windows(checkpoint, corpus, CALIBRATION_WINDOWS, length)
        return quantise(checkpoint.model, method.value, windows, progress=bar)


def _show(record: dict[str, Any]) -> None:
    from skipopu.results.verification import verification_text

    for line in verification_text(record):
        say(line)


def _plain(value: Any) -> Any:
    """Return ``value`` with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
