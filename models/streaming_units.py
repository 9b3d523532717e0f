"""Thinking unit by unit on our decoder: read a sentence or a group of frames, write about it, in the end conclude.

`streaming_thinker` and `tays` are this with their own units.
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


@dataclass(frozen=True)
class SourceUnit:
    """Token ids of a unit of the source, its segment type, and when it is there, seconds."""

    type: str
    ids: tuple[int, ...]
    arrival: float


@dataclass(frozen=True)
class Manner:
    """How a model writes: ``start`` of the target, ``ends`` of a thought, ``most`` tokens a thought may have.

    ``connector`` opens a conclusion of ``conclusion`` tokens, which sees the whole source.
    """

    start: int
    ends: frozenset[int]
    most: int
    connector: tuple[int, ...] = ()
    conclusion: int = 0


@dataclass
class Written:
    """Thoughts [units] and conclusion, the logits of each of their tokens, and the decoder with its record."""

    decoder: StreamingDecoder
    thoughts: list[list[int]] = field(default_factory=list)
    conclusion: list[int] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def newest(self) -> list[int]:
        """The newest token, as a list; empty before the first."""
        return [token for thought in [*self.thoughts, self.conclusion] for token in thought][-1:]


class UnitByUnit:
    """Reads ``before`` (segment type, ids) with the first unit, then thinks about each unit once it is read."""

    def __init__(
        self, llama: Llama, manner: Manner, before: Sequence[tuple[str, tuple[int, ...]]], target_position: int = 0
    ) -> None:
        self.llama, self.manner, self.before, self.target_position = llama, manner, before, target_position

    def run(self, units: Sequence[SourceUnit]) -> Written:
        """Read ``units`` and write, computing each fed token once."""
        done = Written(StreamingDecoder(self.llama, self.target_position))
        for index, unit in enumerate(units):
            self._read(done, [*(self.before if not index else ()), (unit.type, unit.ids)], unit.arrival)
            done.thoughts.append([])
            self._write(done, done.thoughts[-1], self._fed(done), self.manner.most, self.manner.ends)
        if self.manner.conclusion:
            fed = [*self._fed(done), *self.manner.connector]
            self._write(done, done.conclusion, fed, self.manner.conclusion, frozenset())
        return done

    def forward(
        self, units: Sequence[SourceUnit], thoughts: Sequence[Sequence[int]], conclusion: Sequence[int]
    ) -> Tensor:
        """Return the logits of all written tokens at once, [tokens, vocabulary]."""
        ends = [sum(len(ids) for _, ids in self.before)]
        for unit in units:
            ends.append(ends[-1] + len(unit.ids))
        read = [token for _, ids in self.before for token in ids] + [token for unit in units for token in unit.ids]
        sees = [ends[i + 1] for i, thought in enumerate(thoughts) for _ in thought]
        target = [self.manner.start, *(token for thought in thoughts for token in thought)]
        made = list(range(len(sees)))  # the inputs whose logits give a written token
        if conclusion:
            target += [*self.manner.connector, *conclusion[:-1]]
            made += range(len(target) - len(conclusion), len(target))
        inputs = target[: made[-1] + 1]
        sees += [ends[-1]] * (len(inputs) - len(sees))
        ids = torch.tensor([*read, *inputs])
        positions = group_positions(len(read), len(inputs), self.target_position)
        return forward(self.llama, ids, positions, streaming_mask(len(read), sees))[len(read) :][made]

    def _read(self, done: Written, chunks: Sequence[tuple[str, tuple[int, ...]]], arrival: float) -> None:
        at = done.decoder.recorder.tokens
        for kind, ids in chunks:
            done.segments.append(Segment(kind, at, len(ids)))
            at += len(ids)
        done.decoder.read([token for _, ids in chunks for token in ids], arrival)

    def _write(self, done: Written, into: list[int], fed: list[int], most: int, ends: frozenset[int]) -> None:
        begin = done.decoder.recorder.tokens
        while len(into) < most and not ends.intersection(into[-1:]):
            done.logits.append(self.llama.logits(done.decoder.write(fed))[-1])
            fed = [int(done.logits[-1].argmax())]
            into += fed
        done.segments.append(Segment("target", begin, done.decoder.recorder.tokens - begin))

    def _fed(self, done: Written) -> list[int]:
        return done.newest or [self.manner.start]

    def export(self, family: str, done: Written, name: str, source: str, cache: str = "source") -> Trace:
        """Return the trace of what was written; ``source`` says where weights and input are from."""
        shape = shape_of(self.llama.config, name, source)
        return streaming_trace(family, done.decoder, done.segments, shape, source, cache)
