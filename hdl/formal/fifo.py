"""Proof of the FIFOs and counts between the clocks, and of the credit with which they need no full flag.

For each block: nothing is written over a word that is not read and nothing is read that was not written; order and
data are kept; what crosses is in Gray code, one bit at a time; what is written is seen after a bounded number of
cycles, not earlier and not later. For the reads of an HBM port: accepted − completed bursts never exceed
``read_bursts``, and its FIFOs neither overflow nor underflow if whoever asks for chunks has room for them. For the
writes: accepted − acknowledged bursts never exceed ``write_bursts``, and their data are kept without a full flag.

All are proved by induction, for runs of any length. Clocks: aligned, a fixed number of ticks to a core cycle; and
with edges in any order, where a flip-flop that catches a pointer in motion takes of each bit the old or the new
value. Not in the proof: that a metastable flip-flop settles within a cycle.
"""

import sys
from collections.abc import Iterator

from skipopu.hdl.formal.fifo_claims import chunk_bench, fifo_bench
from skipopu.hdl.formal.fifo_count import count_bench
from skipopu.hdl.formal.fifo_credit import read_bench
from skipopu.hdl.formal.fifo_write_data import data_bench
from skipopu.hdl.formal.fifo_writes import write_bench
from skipopu.hdl.formal.smtbmc import main
from skipopu.hdl.formal.smtbmc_bench import Bench

TO_CORE, TO_HBM = ("hbm", "sync"), ("sync", "hbm")
ALIGNED = 2  # ticks a core cycle, as shipped
DEEP, DEEPEST, LONG = 16, 64, 14  # words or events; flip-flops where crossing_stages, request_ticks = 15


def small() -> Iterator[Bench]:
    """Small ones, with as many flip-flops as shipped."""
    yield fifo_bench(4, 2, TO_CORE, True, ALIGNED)
    yield fifo_bench(4, 2, TO_HBM, False, None)
    yield count_bench(4, 2, None)
    yield read_bench(2, 2, None)
    yield write_bench(2, 2, None)
    yield data_bench(2, 8, None)


def larger() -> Iterator[Bench]:
    """Other parameters: edges in any order, deeper FIFOs, other numbers of flip-flops, other ratios."""
    yield fifo_bench(4, 2, TO_CORE, True, None)
    yield fifo_bench(4, 2, TO_HBM, False, ALIGNED)
    yield count_bench(4, 2, ALIGNED)
    yield read_bench(2, 2, ALIGNED)
    yield fifo_bench(2, 1, TO_CORE, True, None)
    yield fifo_bench(8, LONG, TO_HBM, False, None)
    yield fifo_bench(DEEPEST, 2, TO_CORE, True, None)
    yield fifo_bench(DEEP, 2, TO_HBM, False, None)
    yield count_bench(DEEP, 2, None)
    yield count_bench(4, LONG, None)
    for beats, ratio in ((2, ALIGNED), (2, None), (1, 1), (4, 4)):
        yield chunk_bench(4, 3, beats, ratio)
    yield read_bench(1, 2, None)
    yield read_bench(4, 2, None)
    yield write_bench(1, 4, None)
    yield write_bench(4, 2, ALIGNED)
    yield data_bench(1, 4, None)
    yield data_bench(1, 2, ALIGNED)


if __name__ == "__main__":
    sys.exit(main((*small(), *larger())))
