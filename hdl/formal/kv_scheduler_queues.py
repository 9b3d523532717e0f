"""What is claimed of the scheduler's queues: order is kept; and of the fetch queue's reader: credit, and its bursts."""

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.formal.kv_scheduler_follow import bits_of
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.kv_fetch import KvFetch
from skipopu.hdl.kv_layout import KvShape
from skipopu.hdl.read_master import burst_layout

BITS = 2  # of an entry
SEARCH = 12
QUEUE = """
  // entries there; one of them: how many are before it
  reg [7:0] there, before_it;
  reg followed;
  reg [1:0] value;
  (* anyseq *) wire follow;
  wire [7:0] place = (dut.read_place + before_it) % {depth};
  always @($global_clock) begin
    there <= rst ? 0 : there + write - read;
    if (write & follow & !followed) begin
      followed <= 1;
      before_it <= there - read;
      value <= write_data;
    end else if (read & followed) begin
      if (before_it == 0) followed <= 0;
      before_it <= before_it - 1;
    end
    if (rst) followed <= 0;
  end
"""
FETCH = """
  // chunks asked for and not popped; those asked for of the head, and since the last step the same operation
  wire [7:0] length = request__payload[{chunks}];
  wire [31:0] first = request__payload[{address}];
  wire asks = request__valid & request__ready, whole = asks & asked + length == chunks;
  reg [15:0] owed, asked, chunks_before;
  reg [31:0] offset_before;
  always @($global_clock) begin
    owed <= rst ? 0 : owed + (asks ? length : 0) - popped;
    asked <= rst | whole ? 0 : asked + (asks ? length : 0);
    chunks_before <= chunks;
    offset_before <= offset;
  end
"""


def queue_bench(depth: int) -> Bench:
    """Return the bench of a queue."""
    return Bench(
        name=f"FIFO, depth {depth}", block=Fifo(bits=BITS, depth=depth),
        body=QUEUE.format(depth=depth), search=SEARCH,
        claims={
            "it is full with as many entries as its depth, empty with none":
                f"full == (there == {depth}) && empty == (there == 0) && there <= {depth}",
            "more tells of a second entry": "more == (there > 1)",
            "order and data are kept: an entry is the head when those before it are read":
                "!(followed && before_it == 0) || head == value",
        },
        assumed={"nothing is written while it is full": "!(write && full)", "nor read while empty": "!(read && empty)"},
        invariants=(
            "dut.stored == there", f"dut.read_place < {depth}", "!followed || before_it < there",
            f"dut.write_place == (dut.read_place + there) % {depth}",
            *(f"!(followed && place == {at}) || dut.memory[{at}] == value" for at in range(depth)),
        ),
        reached={"the followed entry is read from a full queue": "full & read & followed & before_it == 0"},
    )  # fmt: skip


def fetch_bench(shape: KvShape) -> Bench:
    """Return the bench of a fetch queue and its reader."""
    burst, limit = burst_layout(shape.ratio), shape.boundary_chunks
    credit, depth = shape.kv_chunks, shape.queue_depth
    return Bench(
        name=f"K/V fetch, credit {credit} chunks, bursts of {shape.burst_chunks}, queue of {depth}",
        block=KvFetch(shape=shape), search=SEARCH,
        body=FETCH.format(chunks=bits_of(burst["chunks"]), address=bits_of(burst["address"])),
        claims={
            f"chunks asked for and not popped are {credit} at most": f"owed <= {credit}",
            f"a burst has 1 to {shape.burst_chunks} chunks and stays within 4 KiB":
                f"!request__valid || (length != 0 && length <= {shape.burst_chunks}"
                f" && (first & {limit - 1}) + length <= {limit})",
            "bursts follow on one another from the head's address on":
                f"!request__valid || first == ((dut.queue.head + offset + asked) & {(1 << shape.address_bits) - 1})",
            "a token leaves with the last of its chunks, none too many":
                "!asks || (asked + length <= chunks && dut.queue.read == (asked + length == chunks))",
            "the queue neither overflows nor underflows":
                f"!(dut.queue.write && dut.queue.stored == {depth}) && !(dut.queue.read && dut.queue.empty)",
        },
        assumed={
            "no token is written while it is full": "!(write && full)",
            "a chunk is popped that was asked for": "!popped || owed != 0",
            "a part has chunks": "chunks != 0",
            "the part is steady while tokens wait":
                "dut.queue.stored == 0 || (chunks == chunks_before && offset == offset_before)",
        },
        invariants=(
            "dut.ordered == owed", "dut.asked == asked",
            "asked == 0 || (dut.queue.stored != 0 && asked < chunks_before)",
            f"dut.queue.stored <= {depth}",
        ),
        reached={"all credit is used": f"owed == {credit}", "a token leaves": "whole"},
    )  # fmt: skip
