"""What a trace says about itself: model, router, K/V policy, segments, caches, provenance.

Every record checks itself when it is made, so that a bad one cannot exist.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import vocabulary as words
from skipopu.trace.check import in_range, one_of
from skipopu.trace.record import check_keys
from skipopu.trace.router import Router

DEFAULT_DTYPES = {"weights": "int4", "activations": "fp16", "kv": "fp16", "accumulate": "fp32"}


@dataclass(frozen=True)
class Segment:
    """A run of tokens of one type."""

    type: str
    first: int
    count: int

    def __post_init__(self) -> None:
        one_of("segment.type", self.type, words.SEGMENT_TYPES)
        in_range("segment.first", self.first, 0, 2**31 - 1)
        in_range("segment.count", self.count, 1, 2**31 - 1)


@dataclass(frozen=True)
class Cache:
    """A named KV cache; ``prefix_hit`` entries were in it before the trace began.

    ``capacity`` is its size in tokens per layer, empty where nothing bounds it.
    """

    id: int
    type: str = "decoder"
    prefix_hit: int = 0
    capacity: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        in_range("cache.id", self.id, 0, 2**15 - 1)
        one_of("cache.type", self.type, words.CACHE_TYPES)
        in_range("cache.prefix_hit", self.prefix_hit, 0, 2**31 - 1)
        for size in self.capacity:
            in_range("cache.capacity", size, 0, 2**31 - 1)


@dataclass(frozen=True)
class LayerShape:
    """Static pruning of one layer: what differs from the model shape; None is "as in the shape".

    ``segment`` restricts it to one segment type (modality-aware width), empty means all tokens. ``rank`` is
    that of low-rank weights, where all matrices have the same; otherwise ``ranks`` gives theirs in the order q, k,
    v, o, gate (if the FFN has one), up, down. Zero heads or channels drop the module.
    """

    layer: int
    segment: str = ""
    hidden_size: int | None = None
    intermediate_size: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    rank: int | None = None
    sparsity: str = "dense"
    ranks: tuple[int, ...] = field(default=(), metadata={"optional": True})

    def __post_init__(self) -> None:
        one_of("layer_shape.segment", self.segment, ("", *words.SEGMENT_TYPES))
        one_of("layer_shape.sparsity", self.sparsity, words.SPARSITY_FORMATS)
        for name in ("hidden_size", "intermediate_size", "attention_heads", "kv_heads", "rank"):
            value = getattr(self, name)
            if value is not None:
                in_range(f"layer_shape.{name}", value, 0, 262144)
        for rank in self.ranks:
            in_range("layer_shape.ranks", rank, 1, 262144)
        if len(self.ranks) not in (0, 6, 7) or (self.ranks and self.rank is not None):
            raise SpecError(f"layer_shape.ranks = {self.ranks}; expected one a matrix, 6 or 7, and then no rank")


@dataclass(frozen=True)
class Provenance:
    """Where the routing comes from: kind, seed and knobs that reproduce it, and a source in words."""

    kind: str
    seed: int | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""  # must be given; last, so that the record reads kind, seed, knobs

    def __post_init__(self) -> None:
        one_of("provenance.kind", self.kind, words.PROVENANCE_KINDS)
        if self.seed is not None:
            in_range("provenance.seed", self.seed, -(2**63), 2**63 - 1)
        if not self.source.strip():
            raise SpecError("provenance.source is empty; say where the routing comes from")
        for name, value in self.knobs.items():
            items = value if isinstance(value, tuple | list) else (value,)
            if not all(isinstance(v, bool | int | float | str) and _finite(v) for v in items):
                raise SpecError(
                    f"provenance.knobs.{name} = {value!r}; expected a finite number, word, flag or list"
                )
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in self.knobs.items()}
        object.__setattr__(self, "knobs", plain)


@dataclass(frozen=True)
class Header:
    """Everything about a trace that is not an array.

    ``head_groups``, ``ffn_groups`` and ``experts`` are the widths of the bitmaps of the same name, 0 where
    the trace has none; ``attention_block`` is (query rows, keys) of a bit of the array ``attention_blocks``.
    """

    family: str
    shape: ModelShape
    router: Router
    kv_policy: str
    provenance: Provenance
    version: str = "1"
    dtypes: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_DTYPES))
    segments: tuple[Segment, ...] = ()
    caches: tuple[Cache, ...] = (Cache(0),)
    layer_shapes: tuple[LayerShape, ...] = ()
    position_policy: str = "sequential"
    token_classes: tuple[str, ...] = ()
    head_groups: int = 0
    ffn_groups: int = 0
    experts: int = 0
    attention_block: tuple[int, ...] = ()
    schema: int = words.SCHEMA

    def __post_init__(self) -> None:
        if self.schema != words.SCHEMA:
            raise SpecError(
                f"schema = {self.schema}; this version reads {words.SCHEMA}; export the trace again"
            )
        if not self.family.strip():
            raise SpecError("family is empty; expected a name such as skipgpt")
        one_of("kv_policy", self.kv_policy, words.KV_POLICIES)
        one_of("position_policy", self.position_policy, words.POSITION_POLICIES)
        check_keys(self.dtypes, words.DTYPE_ROLES, "dtypes")
        for role, dtype in self.dtypes.items():
            one_of(f"dtypes.{role}", dtype, words.DTYPES)
        for name in ("head_groups", "ffn_groups", "experts"):
            in_range(name, getattr(self, name), 0, 65536)
        for size in self.attention_block:
            in_range("attention_block", size, 1, 65536)
        if len(self.attention_block) not in (0, 2):
            raise SpecError(
                f"attention_block = {self.attention_block}; expected (query rows, keys), e.g. (16, 16)"
            )
        self._check_layers()

    def _check_layers(self) -> None:
        last = self.shape.dimensions.layers - 1
        for name in ("always_on_attention", "always_on_ffn"):
            for layer in getattr(self.router, name):
                in_range(f"router.{name} layer", layer, 0, last)
        for override in self.layer_shapes:
            in_range("layer_shape.layer", override.layer, 0, last)
        ids = [cache.id for cache in self.caches]
        if not ids or len(set(ids)) != len(ids):
            raise SpecError(f"caches have ids {ids}; expected at least one, each different")
        for cache in self.caches:
            if len(cache.capacity) not in (0, last + 1):
                raise SpecError(
                    f"cache {cache.id}: capacity has {len(cache.capacity)} layers; expected {last + 1} or 0"
                )


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
