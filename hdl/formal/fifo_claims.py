"""What is claimed of the FIFOs between the clocks: no word is lost or invented, and each is there in bounded time."""

from skipopu.hdl.async_fifo import AsyncFifo
from skipopu.hdl.axi import DATA_BITS
from skipopu.hdl.chunk_fifo import ChunkFifo
from skipopu.hdl.formal.fifo_crossing import Crossing
from skipopu.hdl.formal.smtbmc_bench import Bench

WIDTH = 2  # of a word
DEEPEST_SEARCHED = 4
CLOCKS = {"sync": "clk", "hbm": "hbm_clk"}
BEATS = """
  // the beats of a chunk so far, the last on top
  reg [{bits}-1:0] beats;
  reg [3:0] gathered;
  wire [{bits}-1:0] chunk = {{beat, beats}} >> {beat_bits};
  always @(posedge hbm_clk) begin
    if (beat_valid) begin
      beats <= chunk;
      gathered <= gathered == {ratio} - 1 ? 0 : gathered + 1;
    end
    if (rst) gathered <= 0;
  end
"""


def clocks(ratio: int | None) -> str:
    """How the clocks of a bench are related."""
    return "edges in any order" if ratio is None else f"{ratio} ticks a core cycle, aligned"


def fifo_bench(depth: int, stages: int, way: tuple[str, str], ahead: bool, ratio: int | None) -> Bench:
    """Return the bench of an asynchronous FIFO; ``way``: write and read domain; ``ratio``: see `Bench`."""
    block = AsyncFifo(width=WIDTH, depth=depth, stages=stages, write_domain=way[0], read_domain=way[1], ahead=ahead)
    fifo = Crossing("dut", depth, stages, ahead, CLOCKS[way[0]], CLOCKS[way[1]], ratio)
    return Bench(
        name=f"asynchronous FIFO {way[0]} → {way[1]}, depth {depth}, {stages} flip-flops, {clocks(ratio)}",
        block=block, ratio=ratio, search=32 + 4 * depth,
        body=fifo.counts("write", "read__valid & read__ready") + fifo.followed("write_data", WIDTH),
        claims=_safe(fifo) | _word(fifo, "read__valid", "read__payload"),
        assumed={"a word is written while at most depth − 1 are written and not taken": f"!writes || there < {depth}"},
        invariants=(*fifo.order(), *fifo.word()),
        reached=_occurs(depth),
    )  # fmt: skip


def chunk_bench(chunks: int, stages: int, beats: int, ratio: int | None) -> Bench:
    """Return the bench of a chunk FIFO: chunks of ``beats`` beats, ``stages`` core cycles from clock to clock."""
    depth, bits = chunks, beats * DATA_BITS
    fifo = Crossing("dut.fifo", depth, stages - 1, True, "hbm_clk", "clk", ratio)
    last = f"beat_valid & gathered == {beats - 1}"
    return Bench(
        name=f"chunk FIFO, {chunks} chunks of {beats} beats, {stages} stages, {clocks(ratio)}",
        block=ChunkFifo(chunks=chunks, ratio=beats, stages=stages), ratio=ratio, search=32 + 4 * depth,
        body=BEATS.format(bits=bits, beat_bits=DATA_BITS, ratio=beats)
        + fifo.counts(last, "chunk__valid & chunk__ready") + fifo.followed("chunk", bits),
        claims=_safe(fifo) | _word(fifo, "chunk__valid", "chunk__payload"),
        assumed={"a beat comes for a chunk that was asked for, of as many as fit": f"!writes || there < {depth}"},
        invariants=(*fifo.order(), *fifo.word(), *_gathered(beats)),
        reached=_occurs(depth),
    )  # fmt: skip


def _occurs(depth: int) -> dict[str, str]:
    """Situations that a FIFO gets into; not looked for where that takes many steps."""
    if depth > DEEPEST_SEARCHED:
        return {}
    return {
        "the FIFO is full": f"there == {depth}", "the pointers have wrapped": f"taken == {2 * depth - 1}",
        "the followed word is taken": "takes & is_next",
    }  # fmt: skip


def _gathered(beats: int) -> tuple[str, ...]:
    """The register of earlier beats holds those that came, on top."""
    if beats == 1:
        return ("gathered == 0",)
    parts = [(k, f"[{(beats - k) * DATA_BITS} +: {DATA_BITS}]", f"[{(beats - 1 - k) * DATA_BITS} +: {DATA_BITS}]")
             for k in range(1, beats)]  # fmt: skip
    held = (f"gathered < {k} || beats{there} == dut.earlier_beats{here}" for k, there, here in parts)
    return f"gathered < {beats}", "gathered == dut.beat_of_chunk", *held


def _safe(fifo: Crossing) -> dict[str, str]:
    name = fifo.name
    moved = f"{fifo.fifo}.write_gray ^ {name}gray_before"
    return {
        "no overflow: nothing is written over a word that is not read":
            f"{name}in_memory <= {fifo.depth} && (!{name}writes || {name}in_memory < {fifo.depth})",
        "no underflow: nothing is read but what was written": f"!{name}takes || {name}there != 0",
        "the pointer that crosses changes in one bit at a time": f"(({moved}) & (({moved}) - 1)) == 0",
    }  # fmt: skip


def _word(fifo: Crossing, valid: str, payload: str) -> dict[str, str]:
    name, (least, most) = fifo.name, fifo.latency
    return {
        "order and data are kept: the n-th word taken is the n-th written":
            f"!({name}is_next && {valid}) || {payload} == {name}value",
        f"a word is at the output {most} read clocks after its write, if those before it are taken":
            f"!({name}is_next && {name}age >= {most}) || {valid}",
        f"and not before {least}": f"!({name}is_next && {valid}) || {name}age >= {least}",
    }  # fmt: skip
