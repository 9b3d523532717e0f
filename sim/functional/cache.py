"""APPEND_KV and READ_KV: vectors of executed tokens in HBM, and the rounds in which they come back."""

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import place, schedule
from skipopu.numerics.kv_schedule import BUFFER, Placement, commit
from skipopu.program.isa import ADDRESS_UNIT
from skipopu.sim.functional.state import Bits, Instruction, Round, State, listed, places

PAIR = 2  # heads that go through together


def append_kv(s: State, f: Instruction) -> None:
    """Executed rows to their tokens' places; with K the bitmask learns who they are."""
    rows, first = listed(s, f), f["tokens"] - f["rows"]
    if f["value"] == 0:
        s.bitmask[f["layer"], first : f["tokens"]] = np.isin(np.arange(f["rows"]), rows)
    source = np.arange(len(rows))
    tiles = s.buffer[places(f["source"], f["k_tiles"], source, f["rows"])].transpose(1, 0, 2)
    for vector, token in zip(tiles, first + rows, strict=True):
        entry = int(s.bitmask[f["layer"], :token].sum())
        port, slot = entry % s.limits.ports, entry // s.limits.ports
        address = f["address"] * ADDRESS_UNIT + slot * _vector_bytes(s)
        s.image.hbm[port].write(address, _eaten(s, f, vector).astype("<u2").view(np.uint8))


def _vector_bytes(s: State) -> int:
    return s.image.settings.vector * s.overlay.chunk_bytes


def _eaten(s: State, f: Instruction, tiles: Bits) -> Bits:
    """Tiles of all heads in the order in which the array takes them: K of packed heads in turn."""
    if f["value"] == 0 and s.overlay.dataflow.packed_heads == PAIR:
        tiles = tiles.reshape(-1, PAIR, f["columns"], s.dot).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(-1)


def read_kv(s: State, f: Instruction) -> None:
    """Form the rounds and bring what each token's vector has of the head pairs."""
    if len(listed(s, f)) == 0:
        s.buffer_valid = s.buffer_valid and not f["value"]
        return
    sources = _sources(s, f)
    where = place(sources, s.limits.ports)
    usable = bool(f["decode"]) and s.buffer_valid and f["layer"] > 0
    count = schedule(s.limits, where, f["layer"], f["tokens"], usable, bool(f["decode"]), s.schedule)
    s.kv.append([_round(s, f, where, n) for n in range(count)])
    if f["value"]:
        if f["decode"]:
            commit(s.schedule)
        s.buffer_valid = bool(f["decode"]) and s.limits.capacity > 0


def _sources(s: State, f: Instruction) -> NDArray[np.int16]:
    """Layer whose K/V a token uses, −1 none, in all layers up to the next one, which a buffer may keep for."""
    layers = f["layer"] + 1 + f["following"]
    bits = s.bitmask[:layers, : f["tokens"]]
    own = np.where(bits, np.arange(layers)[:, None], -1)
    return (np.maximum.accumulate(own) if s.image.settings.reuse else own).astype(np.int16)


def _round(s: State, f: Instruction, where: Placement, number: int) -> Round:
    c = s.schedule
    entries = np.arange(c.first[number], c.first[number + 1])
    banks = max(s.overlay.buffer_ports, 1)
    lanes = np.where(c.port[entries] == BUFFER, s.limits.ports + c.read[entries] % banks, c.port[entries])
    entries, lanes = entries[np.argsort(lanes)], np.sort(lanes)
    room = min(s.overlay.pe_array.columns // 2, s.dot)
    sources = s.limits.ports + s.overlay.buffer_ports
    tokens = c.token[entries].astype(np.int64)
    numbers = np.stack([_vector(s, f, where, token) for token in tokens.tolist()])
    return Round(lanes if sources <= room else np.arange(len(lanes)), tokens, numbers)


def _vector(s: State, f: Instruction, where: Placement, token: int) -> Bits:
    """The chunks of a token that are read, from the layer in which it executed last."""
    layer, settings, chunk = f["layer"], s.image.settings, s.overlay.chunk_bytes
    source, port, slot = (int(a[layer, token]) for a in (where.source, where.port, where.slot))
    vectors = f["address"] * ADDRESS_UNIT - (layer - source) * 2 * settings.value_offset * chunk
    first = vectors + f["value"] * settings.value_offset * chunk + slot * _vector_bytes(s) + f["source"] * chunk
    data = s.image.hbm[port].read(first, f["columns"] * chunk)
    return data.view("<u2").astype(np.uint16)


def heads(s: State, f: Instruction, numbers: Bits, value: int) -> Bits:
    """Return ``numbers`` [tokens, n] as [pairs, heads of a pair, tokens, numbers of a head]."""
    tokens, size = len(numbers), f["k_tiles"] * s.dot
    if value == 0 and s.overlay.dataflow.packed_heads == PAIR:
        tiles = numbers.reshape(tokens, f["pairs"], f["k_tiles"], PAIR, s.dot).transpose(1, 3, 0, 2, 4)
        return np.ascontiguousarray(tiles).reshape(f["pairs"], PAIR, tokens, size)
    return np.ascontiguousarray(numbers.reshape(tokens, f["pairs"], PAIR, size).transpose(1, 2, 0, 3))
