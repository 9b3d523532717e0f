"""A trace of a running model of every family that models/ exports, in shapes that the machine takes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from routed_models import DECODER, backbone, exported, ids, ready
from streaming_model import SEGMENTATION, decoder, source
from tiny_model import tiny_model, tokens
from tiny_vision import DECODER as SPEAKER
from tiny_vision import PATCH, TOWER, VISUAL, prompt, tiny, words
from torch import nn

from skipopu.models.config import SkipConfig
from skipopu.models.decision_head import DecisionHead, export_decision_head
from skipopu.models.embedlens import export_embedlens
from skipopu.models.export import Image, export_trace
from skipopu.models.hidrop import export_hidrop
from skipopu.models.layer_fusion import LayerFusion, export_layer_fusion
from skipopu.models.llava import export_llava
from skipopu.models.minireranker import Words, encode, export_minireranker, prefix
from skipopu.models.static_pruning import Cut, StaticPruned, export_static
from skipopu.models.streaming_thinker import StreamingThinker, export_streaming_thinker, sentences
from skipopu.models.tays import Tays, export_tays, frame_groups
from skipopu.models.utptrack import export_utptrack
from skipopu.models.vica import export_vica
from skipopu.models.visipruner import Thresholds, export_visipruner
from skipopu.models.wait_k import WaitK, export_wait_k
from skipopu.models.wide import Wide, WideConfig, export_wide
from skipopu.trace import Trace
from skipopu.trace.families import hidrop, layer_fusion, minireranker, utptrack, vica

ABOUT, FROM, DECODE = {"name": "tiny", "source": "a test"}, "a test", 2
SOON = 1e5  # words, tokens or frames a second: the machine need not wait for them
GROUPED = replace(DECODER, hidden_size=64, intermediate_size=128, attention_heads=8, kv_heads=4, head_dim=32)
ENDS = frozenset(range(0, 64, 5))
IMAGE = {"system": 4, "visual": VISUAL}


def skipgpt(skip: SkipConfig, image: bool = False) -> Trace:
    """``image``: three random states stand in for tokens."""
    states = Image(2, torch.randn(3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    model = tiny_model(skip)
    return export_trace(model, tokens(9).tolist(), DECODE, image=states if image else None, **ABOUT)


def routed(name: str) -> Trace:
    """A family of `routed_models`."""
    return exported(name)[1]


def wide() -> Trace:
    """A group is a K/V head or 32 channels: whole column blocks of the tiny overlay."""
    model = ready(Wide(backbone(config=GROUPED), WideConfig(8, 1, 32)))
    assert isinstance(model, Wide)
    return export_wide(model, ids(9).tolist(), DECODE, **ABOUT)


def narrow() -> Trace:
    """Two of four K/V heads are left: a pair."""
    model = StaticPruned(backbone(config=GROUPED), Cut("width", 0.5))
    return export_static(model, ids(9).tolist(), DECODE, **ABOUT)


def fused(placement: str, layers: tuple[int, ...], modular: bool) -> Trace:
    """States after vision layers 1 and 3 join the image's."""
    knobs = layer_fusion.Knobs(
        **IMAGE, vision_layers=(1, 3), decoder_layers=layers, placement=placement, modular=modular
    )  # fmt: skip
    model = LayerFusion(SPEAKER, TOWER, PATCH, knobs).double().eval()
    model.initialize(seed=1, deviation=0.25)
    return export_layer_fusion(model, prompt(), DECODE, FROM)


def tracked() -> Trace:
    """Two frames of a search region behind a template."""
    knobs = utptrack.Knobs(template=3, dynamic=2, filters=(1, 2), keep_share=0.6)
    return export_utptrack(tiny().tower, [prompt(seed).patches for seed in (0, 1)], knobs, FROM)


def reranked() -> Trace:
    """Three texts against one image, half of whose tokens are kept."""
    knobs = minireranker.Knobs(**IMAGE, keep_share=0.5, band_first=2, band_last=3, exit_layer=5)
    x = prefix(tiny(), prompt().system, prompt().patches, torch.linspace(0, 1, VISUAL), knobs).detach()
    texts = [[3, 1, 4], [1, 5, 9], [2, 6, 5]]
    return export_minireranker(tiny(), encode(tiny(), x, knobs), texts, Words(yes=7, no=9), knobs, FROM)


def translated(k: int) -> Trace:
    """A word is written k words behind the source."""
    model = WaitK(decoder(), k, SEGMENTATION, 12)
    return export_wait_k(model, model.run(replace(source(6), words_per_second=SOON)), **ABOUT)


def decided() -> Trace:
    """A head of random weights waits once, then acts."""
    head = nn.Linear(32, 2, bias=False, dtype=torch.float64)
    nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(4))
    model = DecisionHead(decoder(), head, SEGMENTATION, 8)
    return export_decision_head(model, model.run(replace(source(6, 1), words_per_second=SOON)), **ABOUT)


def thought(connector: tuple[int, ...]) -> Trace:
    """A thought about each of three sentences; D1 has no connector."""
    model = StreamingThinker(decoder(), (1, 2, 3), 4, ENDS, 5, connector, most=4)
    done = model.run(sentences([(7, 8, 9, 10), (11, 12), (13, 14, 15)], SOON))
    return export_streaming_thinker(model, done, **ABOUT)


def watched() -> Trace:
    """A thought about each of two groups of two frames."""
    model = Tays(decoder(), (1, 2), (3, 5, 6), 4, ENDS, most=4)
    done = model.run(frame_groups([(i, i + 1, i + 2) for i in range(0, 20, 5)], 2, SOON))
    return export_tays(model, done, **ABOUT)


HIDROP = hidrop.Knobs(**IMAGE, inject=2, filters=(3, 5), keep=(7, 3), exit=6)
VICA = vica.Knobs(**IMAGE, cross_layers=(0, 3, 4), system_query_layers=2)
VISIPRUNER = Thresholds(shallow=1, turns=0.97, distance=0.5, quiet=0.3)
# family, and what is apart from its other cases → its trace
CASES: dict[str, Callable[[], Trace]] = {
    "dense": partial(skipgpt, SkipConfig(router="none", kv_policy="dense", always_on_attention=())),
    "skipgpt linear": partial(skipgpt, SkipConfig()),
    "skipgpt mlp": partial(skipgpt, SkipConfig(router="mlp", ffn_input="layer_input")),
    "skipgpt bottleneck": partial(skipgpt, SkipConfig(router="bottleneck", kv_policy="dense")),
    "skipgpt image": partial(skipgpt, SkipConfig(), image=True),
    "wide": wide,
    "static width": narrow,
    "llava": lambda: export_llava(tiny(), prompt(), DECODE, FROM),
    "vica": lambda: export_vica(tiny(), prompt(), DECODE, VICA, FROM),
    "hidrop": lambda: export_hidrop(tiny(), prompt(), DECODE, HIDROP, FROM),
    "visipruner": lambda: export_visipruner(tiny(), prompt(), DECODE, VISIPRUNER, FROM),
    "embedlens": lambda: export_embedlens(tiny(), prompt(), DECODE, words(0), FROM),
    "layer_fusion external direct": partial(fused, "external", (), modular=False),
    "layer_fusion external modular": partial(fused, "external", (), modular=True),
    "layer_fusion internal direct": partial(fused, "internal", (0, 3), modular=False),
    "layer_fusion internal modular": partial(fused, "internal", (0, 3), modular=True),
    "utptrack": tracked,
    "minireranker": reranked,
    "wait_k 1": partial(translated, 1),
    "wait_k 3": partial(translated, 3),
    "decision_head": decided,
    "streaming_thinker D1": partial(thought, ()),
    "streaming_thinker D2": partial(thought, (40, 41, 42)),
    "tays": watched,
} | {
    name: partial(routed, name)
    for name in (
        "dllm", "dynamic_m", "lff", "mod", "routing_free_moe", "static depth", "static block", "static hidden",
        "static low_rank", "static 2:4",
    )
}  # fmt: skip
