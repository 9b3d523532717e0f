"""Attention of one head as the overlay computes it; its error: ``python -m skipopu.numerics.attention``."""

import math

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic, arithmetic_of
from skipopu.numerics.matmul import matmul
from skipopu.numerics.narrowing import scaled
from skipopu.numerics.softmax import add_scores, probabilities, softmax_state
from skipopu.spec.overlay import Overlay

Bits = NDArray[np.uint16]
LENGTHS = tuple(4**n for n in range(7))  # 1 … 4096
QUERIES, HEAD_DIM, SEED = 4, 128, 0


def head_attention(q: Bits, k: Bits, v: Bits, arithmetic: Arithmetic, dot_length: int, lanes: int) -> Bits:
    """Return softmax(q · kᵀ / √d) · v, [queries, d], of FP16 bits q [queries, d], k and v [tokens, d].

    Scores are rounded to FP16 on their way to the global buffer; statistics are kept tile by tile of ``lanes``.
    """
    scores = scaled(matmul(q, k, arithmetic, dot_length).view(np.uint32), 1 / math.sqrt(q.shape[1]))
    state = softmax_state(len(q))
    tiles = [scores[:, first : first + lanes] for first in range(0, len(k), lanes)]
    for tile in tiles:
        add_scores(state, tile)
    weights = np.concatenate([probabilities(state, tile) for tile in tiles], axis=1)
    context = matmul(weights, np.ascontiguousarray(v.T), arithmetic, dot_length)
    return scaled(context.view(np.uint32), 1.0)


def attention_error(tokens: int, overlay: Overlay, seed: int = SEED) -> tuple[float, float]:
    """Return |error| / |exact|, both Euclidean, of standard normal operands: ours, and that of rounding to FP16."""
    random = np.random.default_rng(seed)
    q, k, v = (random.standard_normal((n, HEAD_DIM)).astype(np.float16) for n in (QUERIES, tokens, tokens))
    array = (arithmetic_of(overlay), overlay.pe_array.dot_length, overlay.npe.lanes)
    found = head_attention(q.view(np.uint16), k.view(np.uint16), v.view(np.uint16), *array)
    wide = q.astype(np.float64) @ k.astype(np.float64).T / math.sqrt(HEAD_DIM)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact = powers / powers.sum(axis=1, keepdims=True) @ v.astype(np.float64)
    size = np.linalg.norm(exact)
    ours, rounded = found.view(np.float16).astype(np.float64), exact.astype(np.float16).astype(np.float64)
    return float(np.linalg.norm(ours - exact) / size), float(np.linalg.norm(rounded - exact) / size)


def main() -> None:
    """Print a line a length."""
    overlay = Overlay.load("skipopu-u280")
    print("tokens  relative error  of rounding alone")
    for tokens in LENGTHS:
        ours, rounded = attention_error(tokens, overlay)
        print(f"{tokens:6d}  {ours:14.2e}  {rounded:17.2e}")


if __name__ == "__main__":
    main()
