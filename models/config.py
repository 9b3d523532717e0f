"""What a model is: the decoder's dimensions and how it skips; plain data without PyTorch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from skipopu.spec.error import SpecError

ROUTER_KINDS = ("none", "linear", "mlp", "bottleneck")
ROUTER_INPUTS = ("layer_input", "post_attention")
KV_POLICIES = ("dense", "reuse_last")


@dataclass(frozen=True)
class RopeScaling:
    """Frequency scaling of Llama 3.1 (``llama3``) or position interpolation (``linear``)."""

    kind: str
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True)
class LlamaConfig:
    """Dimensions of a Llama-style decoder, named as in :class:`skipopu.spec.model_shape.Dimensions`.

    Raises SpecError where heads cannot be grouped or rotated.
    """

    vocabulary: int
    hidden_size: int
    intermediate_size: int
    layers: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float = 10000.0
    norm_epsilon: float = 1e-6
    tied_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        for key in (
            "vocabulary",
            "hidden_size",
            "intermediate_size",
            "layers",
            "attention_heads",
            "kv_heads",
        ):
            if getattr(self, key) < 1:
                raise SpecError(f"model {key} = {getattr(self, key)}; must be at least 1")
        if self.attention_heads % self.kv_heads:
            raise SpecError(
                f"model kv_heads = {self.kv_heads}; must divide attention_heads = {self.attention_heads}"
            )
        if self.head_dim < 2 or self.head_dim % 2:
            raise SpecError(
                f"model head_dim = {self.head_dim}; must be even for RoPE; nearest: {self.head_dim + 1}"
            )


@dataclass(frozen=True)
class SkipConfig:
    """How a model routes its tokens past modules.

    ``router`` is the kind of :class:`skipopu.models.router.Router`; ``none`` executes everything. The
    attention router always reads the layer input, ``ffn_input`` says what the feed-forward router reads.
    Layers in ``always_on_*`` execute for every token; ``reuse_last`` needs layer 0 in
    ``always_on_attention``, as a token skipped there would have no K and V at all.
    """

    router: str = "linear"
    ffn_input: str = "post_attention"
    kv_policy: str = "reuse_last"
    always_on_attention: tuple[int, ...] = field(default=(0,))
    always_on_ffn: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _one_of("router", self.router, ROUTER_KINDS)
        _one_of("ffn_input", self.ffn_input, ROUTER_INPUTS)
        _one_of("kv_policy", self.kv_policy, KV_POLICIES)
        if self.kv_policy == "reuse_last" and 0 not in self.always_on_attention:
            raise SpecError(
                f"always_on_attention = {self.always_on_attention}; kv_policy reuse_last needs layer 0 in it,"
                " or use kv_policy dense"
            )

    def check_layers(self, layers: int) -> None:
        """Raise SpecError where an always-on layer does not exist in a model of ``layers`` layers."""
        for key in ("always_on_attention", "always_on_ffn"):
            for layer in getattr(self, key):
                if not 0 <= layer < layers:
                    raise SpecError(f"{key} = {getattr(self, key)}; layer {layer} must be in 0..{layers - 1}")


def to_table(llama: LlamaConfig, skip: SkipConfig) -> dict[str, Any]:
    """Return both configurations as a table that JSON can hold; :func:`from_table` reads it."""
    return {"llama": asdict(llama), "skip": asdict(skip)}


def from_table(table: Mapping[str, Any], where: str) -> tuple[LlamaConfig, SkipConfig]:
    """Parse what :func:`to_table` made; SpecError names ``where`` and the key that is wrong."""
    for key in ("llama", "skip"):
        if not isinstance(table.get(key), Mapping):
            raise SpecError(f"{where}: metadata has no section {key!r}; train or export the model anew")
    llama, skip = dict(table["llama"]), dict(table["skip"])
    if llama.get("rope_scaling") is not None:
        llama["rope_scaling"] = _filled(RopeScaling, llama["rope_scaling"], where)
    for key in ("always_on_attention", "always_on_ffn"):
        skip[key] = tuple(skip.get(key, ()))
    return _filled(LlamaConfig, llama, where), _filled(SkipConfig, skip, where)


def _filled(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise SpecError(
            f"{where}: unknown configuration key {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    try:
        return cls(**values)
    except TypeError as error:
        raise SpecError(f"{where}: configuration is incomplete: {error}") from None


def _one_of(key: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise SpecError(f"{key} = {value!r}; expected one of {', '.join(valid)}")
