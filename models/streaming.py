"""A decoder that reads a source and writes a target over two K/V caches, computing each fed token once.

Reads see the source cache only; writes see both. `replay` feeds the tokens of a given trace in its steps.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skipopu.models.llama import Llama
from skipopu.models.recorder import Recorder
from skipopu.models.rotary import rotation
from skipopu.spec.error import SpecError
from skipopu.trace import Event, EventKind, StepPhase, Trace
from skipopu.trace.stream import SOURCE, TARGET, Ranges


class StreamCaches:
    """Keys and values of several caches, each [slots, kv_heads, head_dim] a layer, grown and popped at the end."""

    def __init__(self, llama: Llama, ids: Sequence[int]) -> None:
        config, weight = llama.config, llama.model.embed_tokens.weight
        empty = weight.new_empty((2, 0, config.kv_heads, config.head_dim))
        self._entries = {cache: [empty] * config.layers for cache in ids}

    def length(self, cache: int) -> int:
        """Slots in use of a cache, once a step has run."""
        return len(self._entries[cache][-1][0])

    def append(self, cache: int, layer: int, k: Tensor, v: Tensor) -> None:
        """Add entries [T, kv_heads, head_dim] at the end."""
        self._entries[cache][layer] = torch.cat((self._entries[cache][layer], torch.stack((k, v))), dim=1)

    def read(self, layer: int, ranges: Ranges) -> Tensor:
        """Return the listed (cache, first, slots) behind one another, [2, slots, kv_heads, head_dim]."""
        parts = [self._entries[cache][layer][:, first : first + slots] for cache, first, slots in ranges]
        return torch.cat(parts, dim=1) if parts else self._entries[min(self._entries)][layer][:, :0]

    def pop(self, cache: int, slots: int) -> None:
        """Drop the newest entries in every layer."""
        self._entries[cache] = [entries[:, : entries.shape[1] - slots] for entries in self._entries[cache]]


class StreamingDecoder:
    """Feeds tokens of one stream to ``llama``: steps, positions, reads and events are noted as they happen."""

    def __init__(self, llama: Llama, target_position: int = 0, caches: Sequence[int] = (SOURCE, TARGET)) -> None:
        self.llama = llama
        self.caches = StreamCaches(llama, caches)
        self.recorder = Recorder(llama.config.layers)
        self.token_ids: list[int] = []
        self.positions: list[int] = []
        self.reads: list[Ranges] = []
        self._base = {SOURCE: 0, TARGET: target_position}
        self._newest = {SOURCE: -1, TARGET: -1}
        self._arrival = 0.0

    def read(self, ids: Sequence[int], arrival: float) -> Tensor:
        """Append source tokens that are there at ``arrival`` seconds; return their last states [T, hidden]."""
        self._arrival = max(arrival, self._arrival)
        after = [step for step in (self._newest[SOURCE],) if step >= 0]
        seen = self._all_of(SOURCE)
        return self._append(StepPhase.READ, ids, SOURCE, seen, arrival, after)

    def write(self, ids: Sequence[int]) -> Tensor:
        """Append target tokens; return their last states [T, hidden]."""
        source, target = self._newest[SOURCE], self._newest[TARGET]
        after = [step for step in (target, source if source > target else -1) if step >= 0]
        seen = self._all_of(SOURCE) + self._all_of(TARGET)
        return self._append(StepPhase.WRITE, ids, TARGET, seen, self._arrival, after)

    def pop(self) -> None:
        """Drop the newest target entry of every layer, before the next step."""
        self.caches.pop(TARGET, 1)
        self.recorder.event(Event(EventKind.KV_POP, self.recorder.current + 1, cache=TARGET, rows=1))

    @torch.inference_mode()
    def run(self, ids: Sequence[int], positions: Sequence[int], cache: int, reads: Sequence[Ranges]) -> Tensor:
        """Run the tokens of the recorder's newest step through every layer: their last states [T, hidden].

        ``reads`` holds, for each layer, the slots older than the step that its queries see.
        """
        tokens = np.arange(len(ids)) + self.recorder.tokens - len(ids)
        x = self.llama.model.embed_tokens(torch.tensor(list(ids)))
        turn = rotation(self.llama.config, torch.tensor(list(positions)), x.dtype)
        for index, layer in enumerate(self.llama.model.layers):
            normed = layer.input_layernorm(x)
            own = layer.self_attn.keys_values(normed, *turn)
            k, v = torch.cat((self.caches.read(index, reads[index]), torch.stack(own)), dim=1)
            visible = torch.ones(len(ids), len(k), dtype=torch.bool).tril(len(k) - len(ids))
            x = x + layer.self_attn.attend(layer.self_attn.queries(normed, *turn), k, v, visible)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            self.caches.append(cache, index, *own)
            for kind in ("q", "kv", "ffn"):
                self.recorder.ran(kind, index, tokens)
        return x

    def _append(
        self, phase: StepPhase, ids: Sequence[int], cache: int, seen: Ranges, arrival: float, after: list[int]
    ) -> Tensor:
        first = self._base[cache] + self.caches.length(cache)
        positions = range(first, first + len(ids))
        self.recorder.step(phase, len(ids), cache=cache, arrival=arrival, after=after)
        self._newest[cache] = self.recorder.current
        self.token_ids += ids
        self.positions += positions
        self.reads.append(seen)
        return self.run(ids, positions, cache, [seen] * self.llama.config.layers)

    def _all_of(self, cache: int) -> Ranges:
        slots = self.caches.length(cache)
        return [(cache, 0, slots)] if slots else []


def replay(llama: Llama, trace: Trace, ids: Sequence[int]) -> tuple[Tensor, Recorder]:
    """Feed ``ids`` [tokens] as ``trace`` prescribes: steps, caches, positions, reads, pops.

    Return the logits [tokens, vocabulary] and what ran. Raises SpecError where ids and trace do not fit.
    """
    if len(ids) != trace.tokens:
        raise SpecError(f"{len(ids)} token ids for a trace of {trace.tokens} tokens; give one for each")
    run = StreamingDecoder(llama, caches=[cache.id for cache in trace.header.caches])
    positions = trace.arrays["positions"].tolist()
    states = [_replay_step(run, trace, step, ids, positions) for step in range(len(trace.steps))]
    with torch.inference_mode():
        return llama.logits(torch.cat(states)), run.recorder


def _replay_step(
    run: StreamingDecoder, trace: Trace, step: int, ids: Sequence[int], positions: Sequence[int]
) -> Tensor:
    for event in trace.events:
        if event.step == step and event.kind is EventKind.KV_POP:
            run.caches.pop(event.cache, event.rows)
    first, count = int(trace.steps.first_token[step]), int(trace.steps.token_count[step])
    cache = int(trace.steps.cache[step])
    run.recorder.step(StepPhase(int(trace.steps.phase[step])), count, cache=cache)
    tokens = slice(first, first + count)
    return run.run(ids[tokens], positions[tokens], cache, listed_reads(trace, step))


def listed_reads(trace: Trace, step: int) -> list[Ranges]:
    """Return the slots that each layer of a step reads."""
    offsets, ranges = trace.arrays["kv_read_offsets"], trace.arrays["kv_read"]
    at = range(step * trace.layers, (step + 1) * trace.layers)
    return [[(int(c), int(f), int(n)) for c, f, n in ranges[offsets[i] : offsets[i + 1]]] for i in at]
