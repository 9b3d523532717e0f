"""TaYS on our decoder: a sentence after every group of frames, vision and text in caches and positions of their own.

A frame is given as the ids of its visual tokens; which encoder made them does not matter to the decoder's work.
"""

from collections.abc import Sequence

from skipopu.models.llama import Llama
from skipopu.models.streaming_units import Manner, SourceUnit, UnitByUnit, Written
from skipopu.trace import Trace


class Tays(UnitByUnit):
    """Sentence i sees ``system`` prompt, ``question``, the frame groups up to i and the sentences before it."""

    def __init__(
        self,
        llama: Llama,
        system: tuple[int, ...],
        question: tuple[int, ...],
        start: int,
        ends: frozenset[int],
        most: int,
    ) -> None:
        super().__init__(llama, Manner(start, ends, most), (("system", system), ("query", question)))


def frame_groups(
    frames: Sequence[tuple[int, ...]], frames_per_group: int, frames_per_second: float
) -> list[SourceUnit]:
    """Return groups of consecutive ``frames``, each there when its last frame is."""
    groups = [frames[i : i + frames_per_group] for i in range(0, len(frames), frames_per_group)]
    each = [tuple(token for frame in group for token in frame) for group in groups]
    seconds = frames_per_group / frames_per_second
    return [SourceUnit("frame", ids, (index + 1) * seconds) for index, ids in enumerate(each)]


def export_tays(model: Tays, done: Written, name: str, source: str) -> Trace:
    """Return the trace of what ``model`` has written."""
    return model.export("tays", done, name, source, cache="visual")
