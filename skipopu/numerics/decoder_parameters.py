"""What the decoder's numerics ask of a model's numbers; `skipopu.program.parameters` has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.operands import Weights
from skipopu.spec.model_shape import ModelShape

Bits = NDArray[np.uint16]  # FP16


@dataclass(frozen=True)
class Routing:
    """What a model does with its routers' decisions; words as in a trace's header."""

    kv_policy: str = "reuse_last"  # or evict: skipped tokens are not seen; dense: every row projects K and V
    ffn_input: str = "post_attention"  # what the FFN's router reads, or layer_input
    router: str = "linear"  # or none, mlp (ReLU between its layers), bottleneck (nothing between them)


class Linear(Protocol):
    """A weight matrix [out, in] with a scale, and perhaps a bias, for each row."""

    @property
    def weights(self) -> Weights: ...  # noqa: D102
    @property
    def scales(self) -> Bits: ...  # noqa: D102
    @property
    def bias(self) -> Bits | None: ...  # noqa: D102


class Norm(Protocol):
    """RMSNorm; LayerNorm with a ``beta``."""

    @property
    def gamma(self) -> Bits: ...  # noqa: D102
    @property
    def beta(self) -> Bits | None: ...  # noqa: D102


class Router(Protocol):
    """Weights of the last layer, [2, inputs], and of the hidden one; biases are added to FP32 sums."""

    @property
    def last(self) -> Bits: ...  # noqa: D102
    @property
    def hidden(self) -> Bits | None: ...  # noqa: D102
    @property
    def last_bias(self) -> Bits | None: ...  # noqa: D102
    @property
    def hidden_bias(self) -> Bits | None: ...  # noqa: D102


class Layer(Protocol):
    """A decoder layer; rows of q and k in the order in which the rotary unit pairs them."""

    @property
    def attention_norm(self) -> Norm: ...  # noqa: D102
    @property
    def ffn_norm(self) -> Norm: ...  # noqa: D102
    @property
    def q(self) -> Linear: ...  # noqa: D102
    @property
    def k(self) -> Linear: ...  # noqa: D102
    @property
    def v(self) -> Linear: ...  # noqa: D102
    @property
    def o(self) -> Linear: ...  # noqa: D102
    @property
    def gate(self) -> Linear | None: ...  # noqa: D102
    @property
    def up(self) -> Linear: ...  # noqa: D102
    @property
    def down(self) -> Linear: ...  # noqa: D102
    @property
    def attention_router(self) -> Router | None: ...  # noqa: D102
    @property
    def ffn_router(self) -> Router | None: ...  # noqa: D102


class Model(Protocol):
    """A whole model; ``cosines`` and ``sines`` [tokens, head_dim / 2], or learned ``positions``."""

    @property
    def shape(self) -> ModelShape: ...  # noqa: D102
    @property
    def layers(self) -> Sequence[Layer]: ...  # noqa: D102
    @property
    def embedding(self) -> Bits: ...  # noqa: D102
    @property
    def final_norm(self) -> Norm: ...  # noqa: D102
    @property
    def lm_head(self) -> Linear: ...  # noqa: D102
    @property
    def epsilon(self) -> float: ...  # noqa: D102
    @property
    def cosines(self) -> Bits | None: ...  # noqa: D102
    @property
    def sines(self) -> Bits | None: ...  # noqa: D102
    @property
    def positions(self) -> Bits | None: ...  # noqa: D102
    @property
    def score_scale(self) -> float: ...  # noqa: D102
