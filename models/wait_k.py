"""Wait-k translation with group position encoding (StreamingLLM-GPE) on our decoder, word by word.

The decoder finds the ends of its target words in the tokens it generates: a closing token ends its word; a token that
begins a word ends the one before, is dropped, and the last kept token is popped and fed again after the next read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skipopu.models.export import shape_of
from skipopu.models.llama import Llama
from skipopu.models.streaming import StreamingDecoder
from skipopu.models.streaming_export import streaming_trace
from skipopu.models.streaming_reference import forward, group_positions, streaming_mask
from skipopu.trace import Segment, Trace

MOST_TOKENS_OF_A_WORD = 50  # public code of StreamingLLM-GPE: a write ends here in any case


@dataclass(frozen=True)
class Segmentation:
    """What token ids say about words: ``begins`` a new one, ``closes`` its own; ``start`` and ``end`` of the target."""

    begins: frozenset[int]
    closes: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """Token ids of an instruction and of each source word; ``words_per_second`` of them arrive."""

    instruct: tuple[int, ...]
    words: tuple[tuple[int, ...], ...]
    words_per_second: float = 1.0


@dataclass
class Translation:
    """What was written: kept tokens by word, their logits [tokens, vocabulary], and the decoder with its record.

    ``closed``: which words were ended by their own last token. ``segments``: the tokens of each read and written word.
    """

    decoder: StreamingDecoder
    words: list[list[int]] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def target(self) -> list[int]:
        """All kept target tokens."""
        return [token for word in self.words for token in word]


class WaitK:
    """Reads ``k`` words, then writes one and reads one in turn, until ``limit`` target tokens or the end token."""

    def __init__(self, llama: Llama, k: int, segmentation: Segmentation, limit: int, target_position: int = 0) -> None:
        self.llama, self.k, self.limit, self.target_position = llama, k, limit, target_position
        self.segmentation = segmentation

    def run(self, source: Source) -> Translation:
        """Translate ``source``, computing each fed token once."""
        done = Translation(StreamingDecoder(self.llama, self.target_position))
        read = self._read(done, source, 0, min(self.k, len(source.words)))
        while not self._ended(done):
            if len(done.words) + self.k > read < len(source.words):
                read = self._read(done, source, read, read + 1)
            self._write_word(done, more=read < len(source.words))
        while read < len(source.words):
            read = self._read(done, source, read, read + 1)
        return done

    def forward(self, source: Source, words: Sequence[Sequence[int]]) -> Tensor:
        """Return the logits of all kept tokens of the given target ``words`` at once, [tokens, vocabulary]."""
        reads = [min(self.k + i, len(source.words)) for i in range(len(words))]
        return self.masked(source, words, reads)

    def masked(self, source: Source, words: Sequence[Sequence[int]], reads: Sequence[int]) -> Tensor:
        """Return logits as `forward` does, where target word i sees the first ``reads[i]`` source words."""
        ends = [len(source.instruct)]
        for word in source.words:
            ends.append(ends[-1] + len(word))
        target = [token for word in words for token in word]
        sees = [ends[reads[i]] for i, word in enumerate(words) for _ in word]
        read = [*source.instruct, *(token for word in source.words for token in word)]
        ids = torch.tensor([*read, self.segmentation.start, *target[:-1]])
        positions = group_positions(len(read), len(target), self.target_position)
        return forward(self.llama, ids, positions, streaming_mask(len(read), sees))[len(read) :]

    def _read(self, done: Translation, source: Source, first: int, last: int) -> int:
        chunks = [("system", source.instruct)] if not first and source.instruct else []
        chunks += [("source", word) for word in source.words[first:last]]
        at = done.decoder.recorder.tokens
        for kind, ids in chunks:
            done.segments.append(Segment(kind, at, len(ids)))
            at += len(ids)
        done.decoder.read([token for _, ids in chunks for token in ids], last / source.words_per_second)
        return last

    def _write_word(self, done: Translation, more: bool, state: Tensor | None = None) -> None:
        """Write one word where ``more`` source is to come; else all that is left, which nothing interrupts.

        ``state`` [1, hidden] is that of the word's first pass, where it has already been made.
        """
        words = self.segmentation
        state = done.decoder.write([self._fed(done)]) if state is None else state
        done.words.append([])
        begin = done.decoder.recorder.tokens - 1
        while True:
            logits = self.llama.logits(state)[-1]
            token = int(logits.argmax())
            if done.words[-1] and token in words.begins:
                if more:  # the token after the word showed its end: it has to be written anew
                    done.decoder.pop()
                    return self._finish(done, begin, closed=False)
                begin = self._split(done, begin)
            done.words[-1].append(token)
            done.logits.append(logits)
            if self._ended(done) or (more and self._closes(done.words[-1])):
                return self._finish(done, begin, closed=True)
            state = done.decoder.write([token])

    def _split(self, done: Translation, begin: int) -> int:
        """End a word whose successor's first token has just been made; return the token that made it."""
        newest = done.decoder.recorder.tokens - 1
        done.closed.append(False)
        done.segments.append(Segment("target", begin, newest - begin))
        done.words.append([])
        return newest

    def _finish(self, done: Translation, begin: int, closed: bool) -> None:
        done.closed.append(closed)
        done.segments.append(Segment("target", begin, done.decoder.recorder.tokens - begin))

    def _fed(self, done: Translation) -> int:
        return (done.target or [self.segmentation.start])[-1]

    def _closes(self, word: Sequence[int]) -> bool:
        return word[-1] in self.segmentation.closes or len(word) == MOST_TOKENS_OF_A_WORD

    def _ended(self, done: Translation) -> bool:
        return len(done.target) >= self.limit or done.target[-1:] == [self.segmentation.end]


def export_wait_k(model: WaitK, done: Translation, name: str, source: str) -> Trace:
    """Return the trace of a translation that ``model`` has run; ``source`` says where weights and text are from."""
    return streaming_trace("wait_k", done.decoder, done.segments, shape_of(model.llama.config, name, source), source)
