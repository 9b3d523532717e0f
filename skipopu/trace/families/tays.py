"""TaYS, "think as you see": frames arrive in groups, and after each group the model writes a sentence about it.

Sentence i sees system prompt, question, the frame groups up to i and the sentences before it; frames see frames, in a
cache of their own. Positions of the two groups are decoupled; the three sections of M-RoPE are not distinguished, and
the vision encoder that makes the frames' tokens is not part of the trace.
"""

from dataclasses import asdict, dataclass

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.stream_lengths import generator
from skipopu.trace.stream_units import Unit, schedule


@dataclass(frozen=True)
class Knobs:
    """``groups`` of ``frames_per_group`` frames of ``tokens_per_frame`` tokens each arrive, ``frames_per_second``."""

    system_tokens: int = number("token", 0, 2**16)
    groups: int = number("group", 1, 4096)
    frames_per_group: int = number("frame", 1, 4096)
    tokens_per_frame: int = number("token", 1, 2**16)
    frames_per_second: float = number("1/s", 0.001, 1e6)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace of a question of ``prompt`` tokens; ``decode`` tokens fall to the groups with equal chances."""
    written = generator(seed).multinomial(decode, [1 / knobs.groups] * knobs.groups)
    each = knobs.frames_per_group * knobs.tokens_per_frame
    seconds = knobs.frames_per_group / knobs.frames_per_second
    units = [Unit("frame", each, (group + 1) * seconds) for group in range(knobs.groups)]
    stream = schedule([("system", knobs.system_tokens), ("query", prompt)], units, [int(n) for n in written])
    return stream.trace("tays", shape, Provenance("synthetic", seed, asdict(knobs), "family tays"), source="visual")
