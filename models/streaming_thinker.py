"""StreamingThinker on our decoder: a thought after every sentence, then deeper reasoning and the answer."""

from collections.abc import Sequence

from skipopu.models.llama import Llama
from skipopu.models.streaming_units import Manner, SourceUnit, UnitByUnit, Written
from skipopu.trace import Trace
from skipopu.trace.stream_lengths import arrivals

MOST_TOKENS = 2048  # public code of StreamingThinker: max_new_tokens


class StreamingThinker(UnitByUnit):
    """``ends`` are the tokens that end a thought; ``connector`` opens the deeper phase, none in D1."""

    def __init__(
        self,
        llama: Llama,
        instruct: tuple[int, ...],
        start: int,
        ends: frozenset[int],
        conclusion: int,
        connector: tuple[int, ...] = (),
        most: int = MOST_TOKENS,
    ) -> None:
        super().__init__(llama, Manner(start, ends, most, connector, conclusion), (("system", instruct),))


def sentences(ids: Sequence[tuple[int, ...]], tokens_per_second: float) -> list[SourceUnit]:
    """Return sentences that arrive one after the other."""
    times = arrivals([len(sentence) for sentence in ids], tokens_per_second)
    return [SourceUnit("source", sentence, at) for sentence, at in zip(ids, times, strict=True)]


def export_streaming_thinker(model: StreamingThinker, done: Written, name: str, source: str) -> Trace:
    """Return the trace of what ``model`` has written."""
    return model.export("streaming_thinker", done, name, source)
