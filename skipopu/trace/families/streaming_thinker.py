"""StreamingThinker: read a sentence, think about it, read the next; after the last one reason deeper and answer.

Encode and decode streams are independent: a sentence waits for the one before it, a thought for its sentence and for
the thought before it. The deeper phase starts with a connector (D1: none, D2 and D3: a phrase that asks for global
integration or for reflection).
"""

from dataclasses import asdict, dataclass

import numpy as np

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.stream_lengths import arrivals, generator, lengths
from skipopu.trace.stream_units import Unit, schedule


@dataclass(frozen=True)
class Knobs:
    """``sentence_tokens``, ``thought_tokens``: means of 1 + Poisson; ``tokens_per_second`` of the source arrive.

    ``skip_share``: sentences without a thought (AdaSR). ``connector_tokens``: of the deeper phase, 0 for D1.
    """

    instruct_tokens: int = number("token", 0, 2**16)
    sentence_tokens: float = number("token", 1, 4096)
    thought_tokens: float = number("token", 1, 4096)
    skip_share: float = number("share", 0, 1)
    connector_tokens: int = number("token", 0, 4096)
    tokens_per_second: float = number("1/s", 0.001, 1e9)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace that reads ``prompt`` source tokens; what thoughts leave of ``decode`` reasons and answers."""
    random = generator(seed)
    sentences = lengths(random, prompt, knobs.sentence_tokens)
    skipped = random.random(len(sentences)) < knobs.skip_share
    drawn = np.where(skipped, 0, 1 + random.poisson(knobs.thought_tokens - 1, len(sentences)))
    ends = np.minimum(np.cumsum(drawn), decode)  # thoughts end where the tokens do
    thoughts = [int(n) for n in np.diff(ends, prepend=0)]
    times = arrivals(sentences, knobs.tokens_per_second)
    units = [Unit("source", tokens, at) for tokens, at in zip(sentences, times, strict=True)]
    stream = schedule(
        [("system", knobs.instruct_tokens)], units, thoughts, knobs.connector_tokens, decode - sum(thoughts)
    )
    provenance = Provenance("synthetic", seed, asdict(knobs), "family streaming_thinker")
    return stream.trace("streaming_thinker", shape, provenance)
