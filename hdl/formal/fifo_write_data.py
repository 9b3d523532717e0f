"""What is claimed of the write data of an HBM port: its memory has no full flag and no pointer that crosses.

That is safe because a burst is asked for after its data were written, and acknowledged after they were sent; of the
memory that is assumed, and of whoever writes that a burst fits AXI3.
"""

from dataclasses import replace

from skipopu.hdl.formal.fifo_writes import write_bench
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.write_master import write_layout
from skipopu.spec.overlay import AXI3_BURST_BEATS

DATA = """
  // chunks in the memory, those of the burst that is being written, bursts sent and not acknowledged
  wire moves = clk & write__valid & write__ready, is_last = write__payload[{last}];
  wire sends = hbm_clk & dut.data.chunk_done;
  reg [7:0] stored, begun, sent;
  always @($global_clock) begin
    stored <= rst ? 0 : stored + moves - sends;
    begun <= rst ? 0 : moves ? (is_last ? 0 : begun + 1) : begun;
    sent <= rst ? 0 : sent + (hbm_clk & wvalid & wready & wlast) - acknowledges;
  end
"""


def data_bench(bursts: int, beats: int, ratio: int | None) -> Bench:
    """Return the bench of a write master's data: ``bursts`` unacknowledged at most, chunks of ``beats`` beats."""
    own, most = write_bench(bursts, beats, ratio), AXI3_BURST_BEATS // beats
    chunks = bursts * most
    body = own.body + DATA.format(last=write_layout(beats)["last"].offset) + _ends(chunks, beats)
    return replace(
        own, name=f"data of the {own.name}", body=body, search=20,
        claims={
            "no chunk is written over one that is not sent": f"stored <= {chunks} && (!moves || stored < {chunks})",
            "no beat is sent that is not written": "!(hbm_clk & dut.data.taken) || stored != 0",
            "a burst's data are sent when it is asked for, not before":
                "whole == request_there + dut.data.bursts_due && accepted == whole + (wvalid & wlast) + sent",
        },
        assumed={
            **own.assumed, "and only when its data were sent": "!acknowledges || sent != 0",
            "a burst fits AXI3": f"!moves || begun + !is_last < {most}",
        },
        invariants=(*own.claims.values(), *own.invariants, *_data(bursts, chunks, most)),
        reached={"the memory is full": f"stored == {chunks}", "a burst is sent": "sent != 0"},
    )  # fmt: skip


def _ends(chunks: int, beats: int) -> str:
    """Verilog: which chunks are the last of a burst, the oldest chunk first."""
    mark = write_layout(beats)["last"].offset
    words = [f"  wire [{mark}:0] word{k} = dut.data.memory[(dut.data.read_port__addr + {k}) & {chunks - 1}];\n"
             for k in range(chunks)]  # fmt: skip
    ends = ", ".join(f"stored > {k} & word{k}[{mark}]" for k in reversed(range(chunks)))
    whole = " + ".join(f"ends[{k}]" for k in range(chunks))
    return f"{''.join(words)}  wire [{chunks - 1}:0] ends = {{{ends}}};\n  wire [7:0] whole = 8'd0 + {whole};\n"


def _data(bursts: int, chunks: int, most: int) -> list[str]:
    """Of so many chunks in a row one is the last of its burst; behind the newest end is what is begun."""
    return [
        *(f"stored < {k + most} || ends[{k + most - 1}:{k}] != 0" for k in range(chunks - most + 1)),
        f"begun < {most} && begun <= stored", "stored == begun || ends[stored - begun - 1]",
        *(f"{k} < stored - begun || !ends[{k}]" for k in range(chunks)),
        f"sent <= {bursts}", f"begun == 0 || dut.unacknowledged < {bursts}",
        f"dut.data.write_place == ((dut.data.read_port__addr + stored) & {chunks - 1})",
    ]  # fmt: skip
