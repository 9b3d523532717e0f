"""A model by name or path: shipped, written by skipopu, or a Hugging Face directory; and its tokens."""

from dataclasses import dataclass
from pathlib import Path

import torch

from skipopu.models.config import SkipConfig
from skipopu.models.huggingface import load_huggingface
from skipopu.models.llava_checkpoint import LlavaVision, is_llava, load_llava
from skipopu.models.skipgpt import SkipGPT
from skipopu.models.store import CHECKPOINTS, FILE, load_model, load_routers
from skipopu.spec.error import SpecError

UNROUTED = SkipConfig(router="none", kv_policy="dense", always_on_attention=())


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with what a trace says about its origin; ``vision`` makes embeddings of images, if it sees."""

    model: SkipGPT
    name: str
    provenance: str
    directory: Path
    vision: LlavaVision | None = None

    @property
    def is_huggingface(self) -> bool:
        """Whether the directory is a Hugging Face checkpoint, with a tokenizer of its own."""
        return (self.directory / "config.json").is_file()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of ``text``: UTF-8 bytes, or those of the directory's own tokenizer."""
        if not self.is_huggingface:
            return list(text.encode("utf-8"))
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.directory, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise SpecError(
                f"{self.directory}: no usable tokenizer ({reason}); put tokenizer.json there"
            ) from None
        return [int(token) for token in tokenizer(text)["input_ids"]]


def open_checkpoint(
    name: str, *, routers: Path | None = None, dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Open a shipped checkpoint by name (``skipgpt-bytes``) or any checkpoint directory by path.

    ``routers`` adds routers trained for a Hugging Face checkpoint; without them it runs dense. Raises
    SpecError for an unknown name and for what the loaders refuse.
    """
    directory = CHECKPOINTS / name if (CHECKPOINTS / name).is_dir() and "/" not in name else Path(name)
    if not directory.is_dir():
        known = ", ".join(sorted(p.name for p in CHECKPOINTS.iterdir() if p.is_dir()))
        raise SpecError(f"checkpoint {name!r}: no such folder; give one, or a shipped one: {known}")
    vision: LlavaVision | None = None
    if (directory / "config.json").is_file():
        if is_llava(directory):
            llama, vision = load_llava(directory, dtype)
        else:
            llama = load_huggingface(directory, dtype)
        model = SkipGPT(llama, UNROUTED).eval() if routers is None else load_routers(llama, routers)
        provenance = "measured"
    else:
        if routers is not None:
            raise SpecError(
                f"{directory}: brings its own routers; --routers goes with a Hugging Face checkpoint"
            )
        model, provenance = load_model(directory / FILE, dtype), "trained-tiny"
    return Checkpoint(model, directory.resolve().name, provenance, directory, vision)
