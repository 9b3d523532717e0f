"""Who decides which rows run."""

from dataclasses import dataclass

from skipopu.spec.error import SpecError
from skipopu.trace import vocabulary as words
from skipopu.trace.check import in_range, one_of


@dataclass(frozen=True)
class Router:
    """The routers of a model.

    ``hidden`` is the inner width of an mlp or bottleneck router. Always-on layers have no router for that
    module; the first ``always_on_tokens`` tokens execute everywhere. ``shared``: one decision a layer serves
    both modules (D-LLM). Kind ``none`` means no routers at all.
    """

    kind: str = "none"
    hidden: int = 0
    attention_input: str = "layer_input"
    ffn_input: str = "layer_input"
    sampling: str = "argmax"
    always_on_attention: tuple[int, ...] = ()
    always_on_ffn: tuple[int, ...] = ()
    always_on_tokens: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        one_of("router.kind", self.kind, words.ROUTER_KINDS)
        one_of(
            "router.attention_input", self.attention_input, ("layer_input",)
        )  # nothing else exists by then
        one_of("router.ffn_input", self.ffn_input, words.ROUTER_INPUTS)
        one_of("router.sampling", self.sampling, words.SAMPLINGS)
        in_range("router.always_on_tokens", self.always_on_tokens, 0, 2**31 - 1)
        wide = self.kind in ("mlp", "bottleneck")
        in_range(f"router.hidden of a {self.kind} router", self.hidden, int(wide), 65536 if wide else 0)
        held = self.always_on_attention or self.always_on_ffn or self.always_on_tokens or self.shared
        if self.kind == "none" and held:
            raise SpecError(
                "router.kind = 'none' holds nothing always on and shares nothing; leave those out"
            )
        for name in ("always_on_attention", "always_on_ffn"):
            layers = getattr(self, name)
            if list(layers) != sorted(set(layers)):
                raise SpecError(
                    f"router.{name} = {layers}; expected layers in rising order, e.g. {sorted(set(layers))}"
                )

    def decides(self, module: str, layer: int) -> bool:
        """Whether ``module`` ("attention" or "ffn") of ``layer`` has a router of its own."""
        if self.shared and module == "ffn":
            return False
        always = self.always_on_attention if module == "attention" else self.always_on_ffn
        return self.kind != "none" and layer not in always
