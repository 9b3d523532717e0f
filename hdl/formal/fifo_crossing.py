"""An asynchronous FIFO as a proof sees it: how many words went in and out, one that is followed, the invariants.

Counts are modulo 2·depth, as the pointers are: with at most ``depth`` words under way, none is mistaken for another.
The word that is followed may be any; ``<name>followed`` until it is taken. Nothing depends on the width: no word
steers anything, and each bit of it is written, read and moved with the others.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

COUNTS = """
  function [{top}:0] {name}number(input [{top}:0] code);
    integer k;
    begin
      {name}number[{top}] = code[{top}];
      for (k = {top} - 1; k >= 0; k = k - 1) {name}number[k] = {name}number[k + 1] ^ code[k];
    end
  endfunction

  reg [{top}:0] {name}written, {name}taken, {name}gray_before;
  wire {name}writes = {write_clock} & ({write}), {name}takes = {read_clock} & ({take});
  wire [{top}:0] {name}there = {name}written - {name}taken, {name}in_memory = {name}written - {fifo}.read_pointer;
  always @($global_clock) begin
    {name}written <= rst ? 0 : {name}written + {name}writes;
    {name}taken <= rst ? 0 : {name}taken + {name}takes;
    {name}gray_before <= rst ? 0 : {fifo}.write_gray;
  end
"""
FOLLOWED = """
  // the word's number, its value, edges of the read clock since it was written
  reg {name}followed;
  reg [{top}:0] {name}place;
  reg [{width}-1:0] {name}value;
  reg [7:0] {name}age;
  (* anyseq *) wire {name}follow;
  wire [{top}:0] {name}before_it = {name}place - {name}taken;
  wire {name}is_next = {name}followed & {name}before_it == 0;
  always @($global_clock) begin
    if ({name}writes & {name}follow & !{name}followed) begin
      {name}followed <= 1;
      {name}place <= {name}written;
      {name}value <= {value};
      {name}age <= 0;
    end else begin
      if ({read_clock} & {name}age != 255) {name}age <= {name}age + 1;
      if ({name}takes & {name}is_next) {name}followed <= 0;
    end
    if (rst) {name}followed <= 0;
  end
"""


@dataclass(frozen=True)
class Crossing:
    """A FIFO of the design: its path from ``dut`` on, its parameters, and how it is called in the bench."""

    fifo: str
    depth: int
    stages: int
    ahead: bool
    write_clock: str
    read_clock: str
    ratio: int | None  # of `Bench`
    name: str = ""

    def counts(self, write: str, take: str) -> str:
        """Verilog that counts the words: in the cycle of ``write`` one is written, in that of ``take`` one is taken."""
        return COUNTS.format(**self._names, write=write, take=take)

    def followed(self, value: str, width: int) -> str:
        """Verilog that follows a word, ``value`` when it is written."""
        return FOLLOWED.format(**self._names, value=value, width=width)

    @property
    def _names(self) -> dict[str, str | int]:
        clocks = {"write_clock": self.write_clock, "read_clock": self.read_clock}
        return {"name": self.name, "fifo": self.fifo, "top": self.depth.bit_length() - 1, **clocks}

    @property
    def latency(self) -> tuple[int, int]:
        """Fewest and most read clocks until a word is at the output; a code caught in motion may cost one."""
        least = self.stages + self.ahead
        return least, least + (self.ratio is None)

    @cached_property
    def _pointers(self) -> list[str]:
        """The write pointer on its way, newest first, as words ahead of those taken."""
        before = [f"{self.fifo}.write_gray_before"] if self.ratio is None else []
        codes = [*before, *(f"{self.fifo}.write_gray_seen_{k}" for k in range(1, self.stages + 1))]
        return [self._modulo(f"{self.name}number({code}) - {self.name}taken") for code in codes]

    def _modulo(self, number: str) -> str:
        return f"(({number}) & {2 * self.depth - 1})"

    @property
    def _read(self) -> str:
        return self._modulo(f"{self.fifo}.read_pointer - {self.name}taken")

    def order(self) -> list[str]:
        """Invariants: written ≥ what each flip-flop knows of it ≥ read = taken, or one more, which is at the output."""
        name, fifo = self.name, self.fifo
        chain = [f"{name}there", *self._pointers, self._read]
        moved = [f"{self._modulo(f'{name}there - {self._pointers[0]}')} <= 1"] if self.ratio is None else []
        return [
            f"{fifo}.write_pointer == {name}written", f"{name}number({fifo}.write_gray) == {name}written",
            f"{name}there <= {self.depth}", f"{self._read} == {f'{fifo}.read__valid' if self.ahead else 0}", *moved,
            *(f"{newer} >= {older}" for newer, older in pairwise(chain)),
        ]  # fmt: skip

    def word(self, value: str | None = None) -> list[str]:
        """Invariants: where the followed word is, and which flip-flops know of it, for it is so old."""
        name, at = self.name, f"{self.name}place[{self.depth.bit_length() - 2}:0]"
        in_memory = f"{name}followed && {name}before_it >= {self._read}"
        knows = enumerate(self._pointers, start=1)
        ignores = enumerate(self._pointers[self.ratio is None :], start=1)
        return [
            f"!{name}followed || {name}before_it < {name}there",
            f"!({in_memory}) || {self.fifo}.memory[{at}] == {value or f'{name}value'}",
            *(f"!({name}followed && {name}age >= {age}) || {pointer} > {name}before_it" for age, pointer in knows),
            *(f"!({name}followed && {pointer} > {name}before_it) || {name}age >= {age}" for age, pointer in ignores),
        ]  # fmt: skip
