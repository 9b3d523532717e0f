"""Wait-k with group position encoding (StreamingLLM-GPE): read k words, then write one and read one in turn.

A word ends where its own token says so (punctuation, end), or where the token after it begins a new word. That token is
dropped; before the next write one target entry is popped and the last kept token is fed again, now seeing one source
word more. Once the source is read whole, nothing looks for word ends any longer.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.stream import Stream
from skipopu.trace.stream_lengths import generator, lengths


@dataclass(frozen=True)
class Knobs:
    """``target_position``: of the first target token (φ of the paper, ``pe_cache_length`` of its code).

    ``instruct_tokens`` are read before the first source word. ``tokens_per_word``: mean of 1 + Poisson.
    ``punctuation``: share of target words whose own last token shows that they have ended.
    """

    k: int = number("word", 1, 100000)
    target_position: int = number("token", 0, 2**20)
    instruct_tokens: int = number("token", 0, 2**16)
    tokens_per_word: float = number("token", 1, 64)
    punctuation: float = number("share", 0, 1)
    words_per_second: float = number("1/s", 0.001, 1e9)


@dataclass(frozen=True)
class Words:
    """Tokens of each source and each target word, and which target words end by a token of their own."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    closed: tuple[bool, ...]


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace that reads ``prompt`` source tokens and keeps ``decode`` target tokens.

    Each popped token costs one write more. Where the target ends first, the source is still read to its end.
    """
    words = draw(prompt, decode, seed, knobs.tokens_per_word, knobs.punctuation)
    provenance = Provenance("synthetic", seed, asdict(knobs), "family wait_k")
    return schedule(words, knobs).trace("wait_k", shape, provenance)


def draw(source: int, target: int, seed: int, tokens_per_word: float, punctuation: float) -> Words:
    """Draw the words of ``source`` and ``target`` tokens; the last target word ends by its own token."""
    random = generator(seed)
    words = [lengths(random, tokens, tokens_per_word) for tokens in (source, target)]
    closed = [bool(x) for x in random.random(len(words[1])) < punctuation]
    return Words(tuple(words[0]), tuple(words[1]), (*closed[:-1], True)[: len(closed)])


def schedule(words: Words, knobs: Knobs) -> Stream:
    """Return the steps of reading and writing ``words``."""
    stream, source, read = Stream(knobs.target_position), words.source, min(knobs.k, len(words.source))
    first = [("system", knobs.instruct_tokens)] if knobs.instruct_tokens else []
    stream.read([*first, *_chunks(source[:read])], read / knobs.words_per_second)
    for index, (length, closed) in enumerate(zip(words.target, words.closed, strict=True)):
        if knobs.k + index > read < len(source):
            stream.read(_chunks(source[read : read + 1]), (read + 1) / knobs.words_per_second)
            read += 1
        write_word(stream, length, dropped=read < len(source) and not closed)
    for word in range(read, len(source)):
        stream.read(_chunks(source[word : word + 1]), (word + 1) / knobs.words_per_second)
    return stream


def write_word(stream: Stream, length: int, dropped: bool) -> None:
    """Write a word of ``length`` tokens, and where its end shows in the ``dropped`` token after it, undo that pass."""
    stream.write(length + dropped)
    if dropped:
        stream.pop()


def _chunks(words: Sequence[int]) -> list[tuple[str, int]]:
    return [("source", tokens) for tokens in words]
