"""The trace of what a streaming decoder has run."""

from collections.abc import Sequence

import numpy as np

from skipopu.models.streaming import StreamingDecoder
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Cache, Header, Provenance, Router, Segment, Trace
from skipopu.trace.stream import SOURCE, TARGET, kv_reads


def streaming_trace(
    family: str,
    decoder: StreamingDecoder,
    segments: Sequence[Segment],
    shape: ModelShape,
    source: str,
    cache: str = "source",
) -> Trace:
    """Return the validated trace; ``cache`` is the type of the cache that reads append to.

    ``source`` says where weights and text are from; weights are random.
    """
    offsets, ranges = kv_reads(decoder.reads, decoder.llama.config.layers)
    header = Header(
        family, shape, Router(), "dense", Provenance("synthetic", source=source), segments=tuple(segments),
        caches=(Cache(SOURCE, cache), Cache(TARGET, "target")), position_policy="explicit",
    )  # fmt: skip
    return decoder.recorder.trace(
        header,
        positions=np.asarray(decoder.positions),
        token_ids=np.asarray(decoder.token_ids),
        kv_read=ranges,
        kv_read_offsets=offsets,
    )
