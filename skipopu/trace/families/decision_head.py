"""A head on the last hidden state decides after each source word: write the next target word, or wait.

The pass that asks feeds the last kept target token again. Where the head waits, that pass is wasted and its entry is
popped; where it acts, the pass is the first of the word. Words end as those of wait-k do. Nobody is asked once the
source is read whole.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.families.wait_k import Words, draw, write_word
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.stream import Stream
from skipopu.trace.stream_lengths import generator


@dataclass(frozen=True)
class Knobs:
    """``act_rate``: share of decisions that write. The others mean what they mean to wait-k."""

    act_rate: float = number("share", 0, 1)
    instruct_tokens: int = number("token", 0, 2**16)
    tokens_per_word: float = number("token", 1, 64)
    punctuation: float = number("share", 0, 1)
    words_per_second: float = number("1/s", 0.001, 1e9)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace that reads ``prompt`` source tokens and keeps ``decode`` target tokens."""
    words = draw(prompt, decode, seed, knobs.tokens_per_word, knobs.punctuation)
    random = generator(seed, 1)
    acts = [bool(x) for x in random.random(len(words.source)) < knobs.act_rate]
    provenance = Provenance("synthetic", seed, asdict(knobs), "family decision_head")
    return schedule(words, acts, knobs).trace("decision_head", shape, provenance)


def schedule(words: Words, acts: Sequence[bool], knobs: Knobs, target_position: int = 0) -> Stream:
    """Return the steps of reading and writing ``words``; ``acts[i]`` is the decision after source word i."""
    stream, written = Stream(target_position), 0
    for index, tokens in enumerate(words.source):
        first = [("system", knobs.instruct_tokens)] if knobs.instruct_tokens and not index else []
        stream.read([*first, ("source", tokens)], (index + 1) / knobs.words_per_second)
        if index + 1 < len(words.source) and written < len(words.target):
            _ask(stream, words, written, acts[index])
            written += acts[index]
    for length in words.target[written:]:
        stream.write(length)
    return stream


def _ask(stream: Stream, words: Words, written: int, acts: bool) -> None:
    """Decide; write a word or waste the pass."""
    stream.decide(acts)
    if acts:
        write_word(stream, words.target[written], dropped=not words.closed[written])
    else:
        stream.write(1, segment=False)
        stream.pop()
