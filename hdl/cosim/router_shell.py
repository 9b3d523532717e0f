"""Shell of the router path: the bitmask behind it, as the KV scheduler reads it, and one word of ports each way."""

from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.bitmask import Bitmask
from skipopu.hdl.kv_layout import index
from skipopu.hdl.router import RouterPath
from skipopu.hdl.row_list import GATES, READERS
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import Gate
from skipopu.spec.overlay import Overlay

OPERATION = ("gates", "mask", "rows", "layer", "first_token")
LOGITS = tuple(f"logit{k}" for k in range(2 * len(GATES)))
SCAN_BITS = ("scan_here", "scan_next")  # of the row scanned, of the row after
LOGIT_BITS = 32


def given_layout(overlay: Overlay) -> data.StructLayout:
    """Inputs of a cycle: a start, a token, lookups of two readers, a row's bits, a scan of the bitmask."""
    b, lookup = overlay.bitmask, {"gate": range(len(Gate)), "mask": 1, "position": ROW_BITS}
    return data.StructLayout({
        "start": 1, "gates": len(GATES), "mask": 1, "rows": ROW_BITS, "layer": index(b.rows),
        "first_token": index(b.tokens),
        "logits_valid": 1, **dict.fromkeys(LOGITS, LOGIT_BITS), "row": ROW_BITS,
        **{f"{reader}_{name}": shape for reader in READERS for name, shape in lookup.items()},
        "bit_mask": 1, "bit_row": ROW_BITS,
        "scan_enable": 1, "scan_row": index(b.rows), "scan_token": index(b.tokens),
    })  # fmt: skip


def found_layout(overlay: Overlay) -> data.StructLayout:
    """Outputs of a cycle: the write to the bitmask, answers, and the bits of the scan of the cycle before."""
    b = overlay.bitmask
    return data.StructLayout({
        "mask_write": 1, "mask_row": index(b.rows), "mask_token": index(b.tokens), "mask_bit": 1,
        **{f"{reader}_{name}": ROW_BITS for reader in READERS for name in ("row", "count")},
        "row_bits": len(GATES), **dict.fromkeys(SCAN_BITS, 1),
    })  # fmt: skip


class RouterShell(Block):
    """Router path and bitmask; a bench writes one word and reads one word a cycle.

    Parameters
    ----------
    overlay : of both

    Ports
    -----
    given : in, `given_layout` · found : out, `found_layout`

    Timing
    ------
    None of its own.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        super().__init__({"given": In(given_layout(overlay)), "found": Out(found_layout(overlay))})

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m, b = Module(), self._overlay.bitmask
        router = place(m, "router", RouterPath(overlay=self._overlay))
        bitmask = place(m, "bitmask", Bitmask(rows=b.rows, tokens=b.tokens))
        self._ask(m, router)
        given, found = self.given, self.found
        m.d.comb += [
            bitmask.write.eq(router.mask_write), bitmask.write_row.eq(router.mask_row),
            bitmask.write_token.eq(router.mask_token), bitmask.write_bit.eq(router.mask_bit),
            bitmask.scan_enable.eq(given.scan_enable), bitmask.scan_row.eq(given.scan_row),
            bitmask.scan_token.eq(given.scan_token), found.row_bits.eq(router.row_bits),
        ]  # fmt: skip
        for name in ("mask_write", "mask_row", "mask_token", "mask_bit"):
            m.d.comb += found[name].eq(getattr(router, name))
        for bit, name in enumerate(SCAN_BITS):
            m.d.comb += found[name].eq(bitmask.scan_bits[bit])
        return m

    def _ask(self, m: Module, router: Any) -> None:
        given = self.given
        for name in ("start", "logits_valid", "row", "bit_mask", "bit_row"):
            m.d.comb += getattr(router, name).eq(given[name])
        for name in OPERATION:
            m.d.comb += router.operation[name].eq(given[name])
        for k, name in enumerate(LOGITS):
            m.d.comb += router.logits[k].eq(given[name])
        for reader in READERS:
            lookup = getattr(router, reader)
            for name in ("gate", "mask", "position"):
                m.d.comb += getattr(lookup, name).eq(given[f"{reader}_{name}"])
            for name in ("row", "count"):
                m.d.comb += self.found[f"{reader}_{name}"].eq(getattr(lookup, name))


def words(table: NDArray[np.int64], layout: data.StructLayout) -> NDArray[np.uint8]:
    """Return [cycles, bytes], a word a row, of ``table`` [cycles, fields of ``layout``]; the first field lowest."""
    parts = [
        column[:, None] >> np.arange(width) & 1 for column, width in zip(table.T, _widths(layout), strict=True)
    ]  # fmt: skip
    return np.packbits(np.concatenate(parts, axis=1).astype(np.uint8), axis=1, bitorder="little")


def fields(found: NDArray[np.uint8], layout: data.StructLayout) -> NDArray[np.int64]:
    """Return the table that `words` would make these words of."""
    bits, at = np.unpackbits(found, axis=1, bitorder="little").astype(np.int64), 0
    columns = []
    for width in _widths(layout):
        columns.append(bits[:, at : at + width] @ (1 << np.arange(width)))
        at += width
    return np.stack(columns, axis=1)


def names(layout: data.StructLayout) -> tuple[str, ...]:
    """Fields of a layout, in order."""
    return tuple(layout.members)


def _widths(layout: data.StructLayout) -> list[int]:
    return [field.width for _, field in layout]
