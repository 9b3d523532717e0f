"""Text for a verification: held-out windows to compare on, training windows to calibrate a quantiser with."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipopu.models.checkpoint import Checkpoint
from skipopu.models.corpus import Corpus
from skipopu.spec.error import SpecError

BYTES_PER_TOKEN = 16  # that a tokenizer is given to find a token in, by far enough


def held_out_windows(checkpoint: Checkpoint, corpus: Corpus, count: int, length: int) -> Tensor:
    """Return ``count`` windows [count, length + 1] of text that no training has seen."""
    return _windows(checkpoint, corpus.held_out, count, length + 1)


def calibration_windows(checkpoint: Checkpoint, corpus: Corpus, count: int, length: int) -> Tensor:
    """Return ``count`` windows [count, length] of training text."""
    return _windows(checkpoint, corpus.train, count, length)


def _windows(checkpoint: Checkpoint, data: NDArray[np.uint8], count: int, length: int) -> Tensor:
    """Evenly spaced windows of tokens; SpecError where the text is too short or the vocabulary too small."""
    size = length * BYTES_PER_TOKEN if checkpoint.is_huggingface else length
    if len(data) < size:
        raise SpecError(f"windows of {length} tokens: the text has {len(data)} bytes, {size} are needed; shorten them")
    starts = np.linspace(0, len(data) - size, count).astype(int)
    rows = [_ids(checkpoint, data[start : start + size], length) for start in starts]
    found, vocabulary = torch.tensor(rows), checkpoint.model.config.vocabulary
    if int(found.max()) >= vocabulary:
        raise SpecError(
            f"text has token {int(found.max())}; checkpoint {checkpoint.name} has a vocabulary of {vocabulary}:"
            " verify one that reads bytes, or a Hugging Face one with its tokenizer"
        )
    return found


def _ids(checkpoint: Checkpoint, data: NDArray[np.uint8], length: int) -> list[int]:
    if not checkpoint.is_huggingface:
        return [int(byte) for byte in data]
    ids = checkpoint.encode(data.tobytes().decode("utf-8", errors="replace"))
    if len(ids) < length:
        raise SpecError(f"windows of {length} tokens: {len(data)} bytes of text gave {len(ids)}; shorten them")
    return ids[:length]
