"""Norm and softmax where they take passes of their own: ``dataflow.fused = false``, the row-wise baseline.

The rows, or the scores of a row block, are complete in the global buffer. A pass of the NPE reads every tile for the
statistics of each row, a second one reads it again, normalises it and writes it back. The PE array stands still in
both, and fences keep it apart from the products before and after.
"""

from skipopu.program.builder import Region
from skipopu.program.emitter import Emitter
from skipopu.program.isa import Opcode
from skipopu.spec.ledger import Part


def statistics_bank(pair: int) -> int:
    """Bank of the row statistics: two pairs are in flight, one gathers them while the other reads its own."""
    return pair & 1


def maximum_region(bank: int) -> Region:
    """Maxima and sums of scores in a bank of the row statistics."""
    return ("maximum", bank)


def emit_norm(e: Emitter, part: Part, gate: dict[str, int], x: str, xn: str, rows: int) -> None:
    """RMSNorm of place ``x`` into place ``xn``; nothing where the first product normalises its input itself."""
    if e.fused:
        return
    e.b.part = part
    fields = {"source": e.places[x], "rows": rows, "k_tiles": e.c.tiles.x, **gate}
    gamma = {"target": e.places[xn], **e.gamma.fields}
    _passes(e, [x, *e.gate_reads(gate)], "statistics", [e.gamma.region], xn, fields, gamma)


def emit_normalization(e: Emitter, part: Part, gate: dict[str, int], x: str, xn: str, rows: int) -> None:
    """RMSNorm of place ``x`` into place ``xn`` in a pass of its own, with the statistics of the router's pass."""
    e.b.part = part
    e.emit(
        Opcode.NORMALIZE, [x, "statistics", e.gamma.region, *e.gate_reads(gate)], [xn], source=e.places[x],
        target=e.places[xn], rows=rows, k_tiles=e.c.tiles.x, **gate, **e.gamma.fields,
    )  # fmt: skip


def normalized(
    e: Emitter, x: str, xn: str, normalize: int, columns: int
) -> tuple[list[Region], list[Region], dict[str, int]]:
    """Regions and fields of a product whose input is X, normalised on its way into ``xn``, or what is there already.

    The second column block waits until all is written back; after a product of one the next operation has to.
    """
    written: list[Region] = [xn] if normalize and columns <= e.c.overlay.pe_array.columns else []
    source = x if normalize else xn
    return [source], written, {"source": e.places[source], "operand": e.places[xn], "normalize": normalize}


def emit_softmax(e: Emitter, tokens: int, gate: dict[str, int], pair: int, pairs: int, scores: str, rows: int) -> None:
    """Softmax of the raw scores at place ``scores``, in place; nothing where it is fused with the products."""
    if e.fused:
        return
    e.b.part = Part.SOFTMAX
    fields = {
        "source": e.places[scores], "rows": rows, "tokens": tokens, "pair": pair, "pairs": pairs,
        "group": e.c.shape.queries_per_kv_head, "layer": e.b.layer, "half": statistics_bank(pair),
        "bidirectional": int(e.bidirectional), **gate,
    }  # fmt: skip
    target = {"target": e.places[scores]}
    _passes(e, [scores, *e.gate_reads(gate)], maximum_region(fields["half"]), [], scores, fields, target)


def _passes(
    e: Emitter, reads: list[Region], statistics: Region, constants: list[Region], target: str,
    fields: dict[str, int], more: dict[str, int],
) -> None:  # fmt: skip
    e.emit(Opcode.STATISTICS, reads, [statistics], **fields)
    e.emit(Opcode.NORMALIZE, [*reads, statistics, *constants], [target], **fields, **more)
