"""The words a trace may use; a reader refuses any other."""

from enum import IntEnum

SCHEMA = 1
KV_POLICIES = ("dense", "reuse_last", "evict")
ROUTER_KINDS = ("none", "linear", "mlp", "bottleneck")
ROUTER_INPUTS = ("layer_input", "post_attention")
SAMPLINGS = ("argmax", "gumbel")
SEGMENT_TYPES = ("system", "visual", "text", "source", "target", "frame", "query", "document")
CACHE_TYPES = ("decoder", "source", "target", "visual", "prefix")
PROVENANCE_KINDS = ("measured", "trained-tiny", "synthetic")
POSITION_POLICIES = ("sequential", "explicit")
SPARSITY_FORMATS = ("dense", "2:4")
DTYPE_ROLES = ("weights", "activations", "kv", "accumulate")
DTYPES = ("int4", "int8", "fp8", "fp16", "bf16", "fp32")
MODULES = ("attention", "ffn")
PATHS = ("text_to_text", "text_to_visual", "visual_to_text", "visual_to_visual")  # query → key modality


class StepPhase(IntEnum):
    """What a step does."""

    ENCODE = 0  # reads a source without a logit, bidirectionally
    PREFILL = 1  # the whole prompt
    READ = 2  # a source chunk of a streaming model
    WRITE = 3  # target tokens of a streaming model
    DECODE = 4  # one generated token
    SCORE = 5  # one relevance score


class EventKind(IntEnum):
    """What can happen between or inside steps besides rows."""

    INSERT = 0  # `kept` tokens enter the sequence at `layer`
    PRUNE = 1  # of `rows` tokens only `kept` stay, from `layer` on
    EXIT = 2  # `rows` tokens leave the sequence at `layer`
    KV_POP = 3  # the newest `rows` entries of `cache` are dropped in every layer
    EARLY_EXIT = 4  # no layer from `layer` on runs in this step
    SCORE_OP = 5  # `rows` queries × `keys` keys scored by `op`, then top-`k` (0: threshold)
    DECISION_OP = 6  # a read/write head on the last state of the step; `outcome` 1 = acted, 0 = waited
    PREFIX_REUSE = 7  # `rows` entries of `cache` were there before the trace began
    FUSE = 8  # states after vision layer `k` join `rows` tokens at `layer` (−1: before all); `outcome` 1 = by a module


class ScoreOp(IntEnum):
    """How a SCORE_OP weighs tokens."""

    NONE = 0
    LAST_TOKEN_ATTENTION = 1  # HiDrop: softmax attention of the last prompt token
    INFLUENCE = 2  # VisiPruner: change of the last token's output without this token
    VOCABULARY_COSINE = 3  # EmbedLens: against the embedding table
    EMBEDDER_ATTENTION = 4  # miniReranker: attention weights of the embedder
    TEMPLATE_ATTENTION = 5  # UTPTrack: attention to the template's centre token


class MaskClass(IntEnum):
    """Which keys a query of a layer may see."""

    CAUSAL = 0
    TEXT_TO_VISUAL = 1  # visual rows are keys only
    MERGED_SINK = 2  # the visual tokens' attention mass is summed onto one of them
    NONE = 3  # no attention between segments and none among visual rows
    BAND = 4  # block-diagonal by segment: outside the interaction band
    WINDOW = 5  # the newest `mask_window` keys


class KvSource(IntEnum):
    """What K and V of a layer are projected from."""

    HIDDEN = 0  # the residual stream
    EMBEDDING = 1  # the untouched input embeddings (ViCA)
