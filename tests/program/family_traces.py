"""A small trace of every family but those of `part_traces`, and the shape it has."""

from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Trace
from skipopu.trace.family import generate

LAYERS = 10
IMAGE = ("system=3", "visual=12")
# name → knobs that fit a prompt of 6 tokens and 10 layers
KNOBS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "skipgpt": (),
    "dynamic_m": (),
    "dllm": ("router_hidden=16",),
    "mod": (),
    "llava": IMAGE,
    "vica": (*IMAGE, "cross_layers=0,2,7"),
    "hidrop": (*IMAGE, "inject=2", "filters=4,6", "keep=6,2", "exit=8"),
    "visipruner": (*IMAGE, "shallow=2", "filter_layer=4", "exit_layer=7", "kept=3"),
    "minireranker": (*IMAGE, "band_first=3", "band_last=5", "exit_layer=7"),
    "layer_fusion": (*IMAGE, "vision_layers=1,3", "placement=internal", "decoder_layers=2,5"),
    "utptrack": ("template=9", "dynamic=2", "filters=3,6", "keep_share=0.6"),
    "static": ("kind=block", "sparsity=0.4"),
    "wait_k": ("words_per_second=100000",),
    "tays": ("system_tokens=3", "groups=3", "tokens_per_frame=4", "frames_per_second=100000"),
    "rollouts": (),
    "teacher_scoring": (),
    "decision_head": ("words_per_second=100000", "instruct_tokens=2", "act_rate=0.5"),
    "embedlens": IMAGE,
    "streaming_thinker": (
        "tokens_per_second=100000", "instruct_tokens=2", "sentence_tokens=3", "thought_tokens=2",
    ),
    "latent_reasoning": (),
}


def shape() -> ModelShape:
    """Ten small layers with grouped queries."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "attention_heads": 4, "kv_heads": 2, "head_dim": 16}
    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    return ModelShape.from_values("small", "a test", layers=LAYERS, vocabulary=40, **sizes, **flags)


def family_trace(name: str, prompt: int = 6, decode: int = 3, seed: int = 1) -> Trace:
    """The family's trace of a few tokens."""
    return generate(name, shape(), prompt, decode, seed=seed, knobs=KNOBS[name])
