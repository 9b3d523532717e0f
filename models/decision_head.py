"""Read or write as a head on the last hidden state decides (after ProactiveLLM and AdaSR, which have no code).

After each source word the last kept target token is fed; its last state goes to a linear head d → 2. Where the head
acts, the same state gives the first token of the next word; where it waits, the pass is wasted and its entry popped.
"""

import torch
from torch import Tensor, nn

from skipopu.models.export import shape_of
from skipopu.models.llama import Llama
from skipopu.models.streaming import StreamingDecoder
from skipopu.models.streaming_export import streaming_trace
from skipopu.models.wait_k import Segmentation, Source, Translation, WaitK
from skipopu.trace import Event, EventKind, Trace

WAIT, ACT = 0, 1


class DecisionHead(WaitK):
    """Writes a word when ``head`` says so, and freely once the source is read whole."""

    def __init__(
        self, llama: Llama, head: nn.Linear, segmentation: Segmentation, limit: int, target_position: int = 0
    ) -> None:
        super().__init__(llama, 1, segmentation, limit, target_position)
        self.head = head
        self.reads: list[int] = []
        self.scores: list[Tensor] = []

    def run(self, source: Source) -> Translation:
        """Translate ``source``.

        ``reads`` then holds the source words before each target word, ``scores`` what the head said each time.
        """
        done = Translation(StreamingDecoder(self.llama, self.target_position))
        self.reads, self.scores = [], []
        read = self._read(done, source, 0, 1)
        while not self._ended(done):
            more = read < len(source.words)
            state = self._asked(done) if more else None
            if state is not None or not more:
                self._write_word(done, more, state)
                self.reads += [read] * (len(done.words) - len(self.reads))
            if more:
                read = self._read(done, source, read, read + 1)
        while read < len(source.words):
            read = self._read(done, source, read, read + 1)
        return done

    def _asked(self, done: Translation) -> Tensor | None:
        """Return the state of the pass that decided to write, or nothing where it has to wait."""
        state = done.decoder.write([self._fed(done)])
        with torch.inference_mode():
            scores = self.head(state[-1])
        self.scores.append(scores)
        acts = int(scores.argmax()) == ACT
        done.decoder.recorder.event(
            Event(EventKind.DECISION_OP, done.decoder.recorder.current, outcome=ACT if acts else WAIT)
        )
        if acts:
            return state
        done.decoder.pop()
        return None


def export_decision_head(model: DecisionHead, done: Translation, name: str, source: str) -> Trace:
    """Return the trace of a translation that ``model`` has run; ``source`` says where weights and text are from."""
    shape = shape_of(model.llama.config, name, source)
    return streaming_trace("decision_head", done.decoder, done.segments, shape, source)
