"""The Gray count as a proof sees it: what happened, what is known of it, and its claims."""

from dataclasses import dataclass
from itertools import pairwise

from skipopu.hdl.formal.fifo_claims import DEEPEST_SEARCHED, clocks
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.gray_count import GrayCount

COUNTS = """
  function [{top}:0] {name}number(input [{top}:0] code);
    integer k;
    begin
      {name}number[{top}] = code[{top}];
      for (k = {top} - 1; k >= 0; k = k - 1) {name}number[k] = {name}number[k + 1] ^ code[k];
    end
  endfunction

  reg [{top}:0] {name}happened, {name}gray_before;
  always @($global_clock) begin
    {name}happened <= rst ? 0 : {name}happened + (hbm_clk & ({event}));
    {name}gray_before <= rst ? 0 : {count}.events_gray;
  end
"""
FOLLOWED = """
  // an event: its number, edges of the core clock since
  reg followed;
  reg [{top}:0] place, count_before;
  reg [7:0] age;
  (* anyseq *) wire follow;
  wire [{top}:0] since = happened - place, unknown = happened - count;
  wire known = unknown < since;
  always @($global_clock) begin
    count_before <= rst ? 0 : count;
    if (hbm_clk & happens & follow & !followed) begin
      followed <= 1;
      place <= happened;
      age <= 0;
    end else begin
      if (clk) age <= age + 1;
      if (known) followed <= 0;
    end
    if (rst) followed <= 0;
  end
"""


@dataclass(frozen=True)
class Count:
    """A Gray count of the design, ``count`` its path; it wraps at 2·``most``: at most ``most`` events are unknown."""

    count: str
    most: int
    stages: int
    ratio: int | None  # of `Bench`
    name: str = ""

    def counts(self, event: str) -> str:
        """Verilog that counts the events: one happens in a tick with ``event``."""
        return COUNTS.format(top=self.most.bit_length() - 1, name=self.name, event=event, count=self.count)

    def unknown(self) -> list[str]:
        """Events that each register does not know of, newest first; the last is the count itself."""
        before = [f"{self.count}.events_gray_before"] if self.ratio is None else []
        codes = [*before, *(f"{self.count}.events_gray_seen_{k}" for k in range(1, self.stages + 1))]
        return [f"(({self.name}happened - {self.name}number({code})) & {2 * self.most - 1})" for code in codes]

    def order(self) -> list[str]:
        """Invariants: a later register knows of no more than the one before it, all within ``most`` of the truth."""
        name, chain = self.name, self.unknown()
        moved = [f"{chain[0]} <= 1"] if self.ratio is None else []
        return [
            f"{self.count}.events == {name}happened", f"{name}number({self.count}.events_gray) == {name}happened",
            *moved, *(f"{newer} <= {older}" for newer, older in pairwise(chain)),
            f"{chain[-1]} <= {self.most}",
        ]  # fmt: skip


def count_bench(most: int, stages: int, ratio: int | None) -> Bench:
    """Return the bench of a Gray count with at most ``most`` events unknown."""
    count = Count("dut", most, stages, ratio)
    latest = stages + (ratio is None)
    moved = "dut.events_gray ^ gray_before"
    return Bench(
        name=f"Gray count, at most {most} unknown, {stages} flip-flops, {clocks(ratio)}",
        block=GrayCount(width=most.bit_length(), stages=stages), ratio=ratio, search=32,
        body=count.counts("happens") + FOLLOWED.format(top=most.bit_length() - 1),
        claims={
            "nothing is counted that did not happen": f"unknown <= {most}",
            "the count never goes back": f"((count - count_before) & {2 * most - 1}) <= {most}",
            "the code that crosses changes in one bit at a time": f"(({moved}) & (({moved}) - 1)) == 0",
            f"an event is counted {latest} core clocks later": f"!(followed && age >= {latest}) || known",
            f"and not before {stages}": f"!(followed && known) || age >= {stages}",
        },
        assumed={f"an event happens while fewer than {most} are not counted":
                 f"!(hbm_clk & happens) || unknown < {most}"},
        invariants=(*count.order(), *_event(count)),
        reached=_occurs(most, stages, ratio),
    )  # fmt: skip


def _occurs(most: int, stages: int, ratio: int | None) -> dict[str, str]:
    """Situations; not looked for where they take many steps."""
    if max(most, stages) > DEEPEST_SEARCHED:
        return {}
    many = {f"{most} are not counted": f"unknown == {most}"} if ratio is None else {}
    return {"the count wraps": "count_before != 0 && count == 0", **many}


def _event(count: Count) -> list[str]:
    """Where the followed event is known, for it is so old."""
    chain = count.unknown()
    knows = [f"!(followed && age >= {age}) || {unknown} < since" for age, unknown in enumerate(chain, start=1)]
    sure = enumerate(chain[count.ratio is None :], start=1)
    ignores = [f"!(followed && {unknown} < since) || age >= {age}" for age, unknown in sure]
    return ["!followed || since != 0", f"!followed || known || since <= {count.most}", *knows, *ignores]
