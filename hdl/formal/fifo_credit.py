"""What is claimed of the reads of an HBM port: bursts outstanding, words of its FIFOs, and how AXI is spoken.

Assumed is a requester that asks for no more chunks than its FIFO can take beside those on their way, and a memory
that sends beats of an ID and ends bursts only as far as it was asked to.
"""

from itertools import pairwise

from skipopu.hdl.formal.fifo_claims import clocks
from skipopu.hdl.formal.fifo_count import Count
from skipopu.hdl.formal.fifo_crossing import Crossing
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.read_master import KV, WEIGHTS, ReadMaster, burst_layout
from skipopu.spec.overlay import AXI3_BURST_BEATS

SIDES = {"weight": WEIGHTS, "kv": KV}
CHUNKS = 4  # of a chunk FIFO
REQUEST_TICKS, CROSSING_STAGES = 3, 3  # as shipped

# of a side, in beats: asked for by the core, read from the request FIFO, asked for at AR, come, popped
SIDE = """
  wire {side}_asks = clk & {side}_request__valid & {side}_request__ready;
  wire [7:0] {side}_length = {side}_request__payload[{chunks_field}];
  wire {side}_beats = hbm_clk & rvalid & rid == {identifier};
  wire {side}_loads = request_takes & {side}_waits0, {side}_moves = hbm_clk & arvalid & arready & arid == {identifier};
  reg [{top}:0] {side}_asked, {side}_read, {side}_sent, {side}_came, {side}_popped;
  wire [{top}:0] {side}_reserved = {side}_asked - {side}_popped, {side}_owed = {side}_sent - {side}_came;
  always @($global_clock) begin
    {side}_asked <= rst ? 0 : {side}_asked + ({side}_asks ? {beats} * {side}_length : 0);
    {side}_read <= rst ? 0 : {side}_read + ({side}_loads ? {beats} * request_length0 : 0);
    {side}_sent <= rst ? 0 : {side}_sent + ({side}_moves ? arlen + 1 : 0);
    {side}_came <= rst ? 0 : {side}_came + {side}_beats;
    {side}_popped <= rst ? 0 : {side}_popped + ({side}_takes ? {beats} : 0);
  end
"""
BURSTS = """
  // bursts that the memory was asked for and has not ended
  reg [7:0] at_memory, accepted, ar_before;
  wire ar_moves = hbm_clk & arvalid & arready;
  wire ends = hbm_clk & rvalid & rlast;
  reg ar_waits;
  reg [63:0] ar;
  wire [63:0] ar_now = {arid, araddr, arlen};
  always @($global_clock) begin
    at_memory <= rst ? 0 : at_memory + ar_moves - ends;
    accepted <= rst ? 0 : accepted + request_writes - ends;
    ar_waits <= !rst & arvalid & !ar_moves;
    ar <= ar_now;
  end
"""


def read_bench(bursts: int, beats: int, ratio: int | None) -> Bench:
    """Return the bench of a read master: ``bursts`` outstanding at most, chunks of ``beats`` beats."""
    requests = Crossing("dut.requests", max(bursts, 2), REQUEST_TICKS - 1, False, "clk", "hbm_clk", ratio, "request_")
    completed = Count("dut.completed", bursts, CROSSING_STAGES - 1, ratio, "completed_")
    fifos = {side: _fifo(side, ratio) for side in SIDES}
    body = requests.counts("dut.requests.write", "dut.requests.read__valid & dut.requests.read__ready")
    body += completed.counts("rvalid & rlast") + _waiting(requests, beats)
    body += "".join(_side(side, fifo, beats) for side, fifo in fifos.items())
    return Bench(
        name=f"reads of an HBM port, at most {bursts} bursts, chunks of {beats} beats, {clocks(ratio)}",
        block=ReadMaster(
            ratio=beats, bursts=bursts, request_ticks=REQUEST_TICKS, crossing_stages=CROSSING_STAGES,
            weight_chunks=CHUNKS, kv_chunks=CHUNKS,
        ),
        body=body + BURSTS, ratio=ratio, search=24,
        claims=_claims(bursts),
        assumed=_assumed(beats),
        invariants=(
            *requests.order(), *completed.order(), *(each for fifo in fifos.values() for each in fifo.order()),
            *_bursts(bursts), f"accepted + {completed.unknown()[-1]} <= {bursts}",
            *(each for side in SIDES for each in _beats(side, requests, beats)),
        ),
        reached={
            "all bursts are outstanding": f"accepted == {bursts}",
            "the K/V FIFO is full": f"kv_there == {CHUNKS}",
            "K/V and weights are asked for in one cycle": "kv_asks & weight_request__valid",
        },
    )  # fmt: skip


def _fifo(side: str, ratio: int | None) -> Crossing:
    return Crossing(f"dut.{side}_fifo.fifo", CHUNKS, CROSSING_STAGES - 1, True, "hbm_clk", "clk", ratio, f"{side}_")


def _side(side: str, fifo: Crossing, beats: int) -> str:
    chunks, names = burst_layout(beats)["chunks"], {"side": side, "identifier": SIDES[side], "beats": beats}
    field = f"{chunks.offset + chunks.width - 1}:{chunks.offset}"
    last = f"rvalid & rid == {SIDES[side]} & ({side}_came & {beats - 1}) == {beats - 1}"
    verilog = SIDE.format(**names, chunks_field=field, top=(beats * CHUNKS).bit_length())
    return verilog + fifo.counts(last, f"{side}_chunk__valid & {side}_chunk__ready")


def _claims(bursts: int) -> dict[str, str]:
    chunk = {
        f"the {side} FIFO never gets more than its credit, nor gives what it has not":
            f"{side}_there <= {CHUNKS} && {side}_in_memory <= {CHUNKS} && (!{side}_writes || {side}_there < {CHUNKS})"
            f" && (!{side}_takes || {side}_there != 0)"
        for side in SIDES
    }  # fmt: skip
    return {
        f"accepted − completed is {bursts} at most": f"accepted <= {bursts}",
        "the request FIFO neither overflows nor underflows":
            f"request_in_memory <= {max(bursts, 2)} && (!request_writes || request_in_memory < {max(bursts, 2)})"
            " && (!request_takes || request_there != 0)",
        **chunk,
        "what stands at AR stays until it is taken": "!ar_waits || (arvalid && ar == ar_now)",
    }  # fmt: skip


def _assumed(beats: int) -> dict[str, str]:
    asks = {
        f"{side}: a burst is asked for that fits AXI3 and the FIFO":
            f"!{side}_asks || ({side}_length != 0 && {side}_length * {beats} <= {AXI3_BURST_BEATS}"
            f" && {side}_reserved + {beats} * {side}_length <= {beats * CHUNKS})"
        for side in SIDES
    }  # fmt: skip
    sends = {f"{side}: a beat comes that is owed": f"!{side}_beats || {side}_owed != 0" for side in SIDES}
    return {
        **asks, **sends, "beats have an ID that was asked for": f"!rvalid || rid == {WEIGHTS} || rid == {KV}",
        "a burst ends that was asked for": "!ends || at_memory != 0",
    }  # fmt: skip


def _bursts(bursts: int) -> list[str]:
    """A burst waits, stands at AR, or is at the memory."""
    return [
        "accepted == request_there + arvalid + at_memory", f"at_memory <= {bursts}",
        f"((dut.issued - completed_happened - accepted) & {2 * bursts - 1}) == 0",
    ]  # fmt: skip


def _beats(side: str, requests: Crossing, beats: int) -> list[str]:
    """Beats asked for ≥ read from the request FIFO ≥ asked for at AR ≥ come ≥ popped; where the differences are."""
    most, wraps = beats * CHUNKS, 4 * beats * CHUNKS - 1
    stages = [f"(({side}_{stage} - {side}_popped) & {wraps})" for stage in ("asked", "read", "sent", "came")]
    waiting = " + ".join(f"({side}_waits{k} ? {beats} * request_length{k} : 8'd0)" for k in range(requests.depth))
    shown = f"(arvalid && arid == {SIDES[side]} ? arlen + 8'd1 : 8'd0)"
    came, whole = f"{side}_came & {2 * most - 1}", f"{beats} * {side}_written"
    return [
        f"{stages[0]} <= {most}", *(f"{more} >= {less}" for more, less in pairwise(stages)),
        *(f"!{side}_waits{k} || (request_length{k} != 0 && {beats} * request_length{k} <= {AXI3_BURST_BEATS})"
          for k in range(requests.depth)),
        f"(({side}_asked - {side}_read) & {wraps}) == {waiting}", f"(({side}_read - {side}_sent) & {wraps}) == {shown}",
        f"({came}) == ((({whole}) + dut.{side}_fifo.beat_of_chunk) & {2 * most - 1})",
        f"({side}_popped & {2 * most - 1}) == (({beats} * {side}_taken) & {2 * most - 1})",
    ]  # fmt: skip


def _waiting(requests: Crossing, beats: int) -> str:
    """Verilog: the words of the request FIFO, the oldest first."""
    burst, lines = burst_layout(beats), []
    kv, low, high = burst.size, burst["chunks"].offset, burst["chunks"].offset + burst["chunks"].width - 1
    for k in range(requests.depth):
        word = f"dut.requests.memory[(dut.requests.read_pointer + {k}) & {requests.depth - 1}]"
        lines += [f"wire [{kv}:0] request{k} = {word};", f"wire [7:0] request_length{k} = request{k}[{high}:{low}];"]
        lines += [
            f"wire {side}_waits{k} = request_there > {k} & request{k}[{kv}] == {identifier};"
            for side, identifier in SIDES.items()
        ]
    return "".join(f"  {line}\n" for line in lines)
