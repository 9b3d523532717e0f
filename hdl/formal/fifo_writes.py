"""What is claimed of the writes of an HBM port: bursts unacknowledged, and how AXI is spoken at AW.

Assumed is a memory that acknowledges bursts only as far as it was asked to write them. The data: `fifo_write_data`.
"""

from skipopu.hdl.formal.fifo_claims import clocks
from skipopu.hdl.formal.fifo_count import Count
from skipopu.hdl.formal.fifo_credit import CROSSING_STAGES, REQUEST_TICKS
from skipopu.hdl.formal.fifo_crossing import Crossing
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.write_master import WriteMaster

BURSTS = """
  // bursts that the memory was asked to write and has not acknowledged
  reg [7:0] at_memory, accepted;
  wire aw_moves = hbm_clk & awvalid & awready, acknowledges = hbm_clk & bvalid;
  reg aw_waits;
  reg [63:0] aw;
  wire [63:0] aw_now = {awid, awaddr, awlen};
  always @($global_clock) begin
    at_memory <= rst ? 0 : at_memory + aw_moves - acknowledges;
    accepted <= rst ? 0 : accepted + request_writes - acknowledges;
    aw_waits <= !rst & awvalid & !aw_moves;
    aw <= aw_now;
  end
"""


def write_bench(bursts: int, beats: int, ratio: int | None) -> Bench:
    """Return the bench of a write master: ``bursts`` unacknowledged at most, chunks of ``beats`` beats."""
    depth = max(bursts, 2)
    requests = Crossing("dut.requests", depth, REQUEST_TICKS - 1, False, "clk", "hbm_clk", ratio, "request_")
    known = Count("dut.acknowledged", bursts, CROSSING_STAGES - 1, ratio, "known_")
    body = requests.counts("dut.requests.write", "dut.requests.read__valid & dut.requests.read__ready")
    return Bench(
        name=f"writes of an HBM port, at most {bursts} bursts, chunks of {beats} beats, {clocks(ratio)}",
        block=WriteMaster(ratio=beats, bursts=bursts, request_ticks=REQUEST_TICKS, crossing_stages=CROSSING_STAGES),
        body=body + known.counts("bvalid") + BURSTS, ratio=ratio, search=16,
        claims={
            f"accepted − acknowledged is {bursts} at most": f"accepted <= {bursts}",
            "the request FIFO neither overflows nor underflows":
                f"request_in_memory <= {depth} && (!request_writes || request_in_memory < {depth})"
                " && (!request_takes || request_there != 0)",
            "a burst that is not acknowledged is pending": "accepted == 0 || pending",
            "what stands at AW stays until it is taken": "!aw_waits || (awvalid && aw == aw_now)",
        },
        assumed={"a burst is acknowledged that was asked for": "!acknowledges || at_memory != 0"},
        invariants=(
            *requests.order(), *known.order(), f"accepted + {known.unknown()[-1]} <= {bursts}",
            "accepted == request_there + awvalid + at_memory", f"at_memory <= {bursts}",
            f"((dut.issued - known_happened - accepted) & {2 * bursts - 1}) == 0",
        ),
        reached={
            "all bursts are unacknowledged": f"accepted == {bursts}", "none is pending any more": "aw != 0 && !pending",
        },
    )  # fmt: skip
