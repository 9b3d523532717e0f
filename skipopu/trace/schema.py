"""The trace: which rows of which tokens run through which modules of which layers, and when."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skipopu.trace.arrays import Array, Bools, array_type, to_stored, unpack
from skipopu.trace.event import Event, to_columns
from skipopu.trace.header import Cache, Header, LayerShape, Provenance, Segment
from skipopu.trace.record import canonical, encode
from skipopu.trace.router import Router
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import EventKind, KvSource, MaskClass, ScoreOp, StepPhase

__all__ = [
    "Cache", "Event", "EventKind", "Header", "KvSource", "LayerShape", "MaskClass", "Provenance", "Router",
    "ScoreOp", "Segment", "StepPhase", "Steps", "Trace", "axis_sizes", "header_table",
    "make_trace",
]  # fmt: skip

RowKind = Literal["q", "kv", "ffn"]


@dataclass(frozen=True, eq=False)
class Trace:
    """A whole run of a model with dynamic computation; two traces are equal where their content hash is.

    ``arrays`` holds the arrays of ``skipopu.trace.arrays.ARRAYS`` other than those of steps and events, as a
    file does (bitmaps packed). Nothing that follows from these is stored: GEMM shapes and the layer a reused
    K/V comes from are derived. Make one with ``make_trace``.
    """

    header: Header
    steps: Steps
    arrays: Mapping[str, Array]
    events: tuple[Event, ...] = field(default=())

    @property
    def layers(self) -> int:
        """Decoder layers."""
        return self.header.shape.dimensions.layers

    @property
    def tokens(self) -> int:
        """Tokens, numbered from 0 in execution order."""
        return self.steps.tokens

    @property
    def token_ids(self) -> NDArray[np.int32] | None:
        """Vocabulary index of each token, [tokens], where recorded."""
        return self.arrays.get("token_ids")

    def rows(self, kind: RowKind) -> Bools:
        """Return which rows run, [layers, tokens], read-only.

        ``q``: project a query, i.e. execute attention; ``kv``: project and append key and value; ``ffn``: run
        the FFN.
        """
        return self._rows[kind]

    def array(self, name: str) -> Array | None:
        """Return an optional array, bitmaps unpacked to bool, or None where the trace has none."""
        kind = array_type(name)
        if name not in self.arrays:
            return None
        if not kind.packed:
            return self.arrays[name]
        return unpack(self.arrays[name], axis_sizes(self.header, self.steps)[kind.axes[-1]])

    def kv_source_layers(self) -> NDArray[np.int16]:
        """Return the layer each token's K/V comes from, [layers, tokens].

        Under ``reuse_last`` the last layer up to this one where its K/V row ran; otherwise this layer, or −1
        where the token has no entry.
        """
        kv = self.rows("kv")
        layer = np.arange(self.layers, dtype=np.int16)[:, None]
        own = np.where(kv, layer, np.int16(-1))
        return np.maximum.accumulate(own, axis=0) if self.header.kv_policy == "reuse_last" else own

    def summary(self) -> dict[str, Any]:
        """Return tokens and skip rates; see ``skipopu.trace.summary``."""
        from skipopu.trace.summary import summarise

        return summarise(self)

    @cached_property
    def sha256(self) -> str:
        """Hash of the content: header and every array by name, type, shape and value."""
        digest = hashlib.sha256(canonical(header_table(self.header)).encode())
        for name, array in sorted(self.all_arrays().items()):
            digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def all_arrays(self) -> dict[str, Array]:
        """Return every array by its name in a file."""
        return self.steps.columns() | to_columns(self.events) | dict(self.arrays)

    @cached_property
    def _rows(self) -> dict[str, Bools]:
        rows = {kind: unpack(self.arrays[f"rows_{kind}"], self.tokens) for kind in ("q", "kv", "ffn")}
        for array in rows.values():
            array.setflags(write=False)
        return rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


def make_trace(
    header: Header,
    steps: Steps,
    *,
    q: Bools,
    kv: Bools,
    ffn: Bools,
    events: Sequence[Event] = (),
    **arrays: Array | None,
) -> Trace:
    """Build and validate a trace from plain arrays.

    ``q``, ``kv``, ``ffn`` are bool [layers, tokens]; ``arrays`` are further ones of the schema, bitmaps as
    bool; None means absent. Raises SpecError naming what does not fit.
    """
    from skipopu.trace.validate import validate

    steps.check()
    sizes = axis_sizes(header, steps)
    given = {"rows_q": q, "rows_kv": kv, "rows_ffn": ffn} | arrays
    stored = {name: to_stored(name, array, sizes) for name, array in given.items() if array is not None}
    trace = Trace(header, steps, stored, tuple(events))
    validate(trace)
    return trace


def axis_sizes(header: Header, steps: Steps) -> dict[str, int]:
    """Return the length of every axis that header and steps determine."""
    d, tokens = header.shape.dimensions, steps.tokens
    query_block, key_block = header.attention_block or (1, 1)
    return {
        "layers": d.layers,
        "heads": d.attention_heads,
        "kv_heads": d.kv_heads,
        "steps": len(steps),
        "tokens": tokens,
        "steps*layers": len(steps) * d.layers,
        "head_groups": header.head_groups,
        "ffn_groups": header.ffn_groups,
        "experts": header.experts,
        "query_blocks": -(-tokens // query_block),
        "key_blocks": -(-tokens // key_block),
    }


def header_table(header: Header) -> dict[str, Any]:
    """Return the header as plain tables; the shape as name and dimensions."""
    shape = {"name": header.shape.name, "dimensions": encode(header.shape.dimensions)}
    plain = {name: encode(value) for name, value in vars(header).items() if name != "shape"}
    return plain | {"shape": shape}
