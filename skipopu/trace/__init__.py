"""Traces: what a model with dynamic computation really ran, as the machine below it sees it."""

from skipopu.trace.context import keys_per_query
from skipopu.trace.file import read_trace, write_trace
from skipopu.trace.header import Cache, Header, LayerShape, Provenance, Segment
from skipopu.trace.knobs import parse_knobs, presets
from skipopu.trace.router import Router
from skipopu.trace.schema import Event, Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.synthetic import synthesize
from skipopu.trace.twin import dense_like, partial_skip_like
from skipopu.trace.validate import validate
from skipopu.trace.vocabulary import EventKind, KvSource, MaskClass, ScoreOp, StepPhase

__all__ = [
    "Cache", "Event", "EventKind", "Header", "KvSource", "LayerShape", "MaskClass", "Provenance", "Router",
    "ScoreOp", "Segment", "StepPhase", "Steps", "Trace", "dense_like", "keys_per_query", "make_trace",
    "parse_knobs", "partial_skip_like", "presets", "read_trace", "synthesize", "validate", "write_trace",
]  # fmt: skip
