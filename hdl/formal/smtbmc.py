"""Proof of a block with yosys-smtbmc: what is claimed of it holds in every cycle, for all inputs that are allowed.

The design is the emitted Verilog, the text that is simulated and synthesised; Yosys reads and translates it, Z3
decides. A proof is temporal induction: the claims hold in the first steps after a reset from any state, and where they
and the invariants beside them have held for ``steps`` steps, they hold in the next one. A claim that is not proved is
searched for a counterexample, which is shown with its values. Situations that must occur are searched, too: a proof
out of assumptions that contradict each other does not reach them.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from skipopu.hdl.formal.smtbmc_bench import COVERS, Bench, bench_text
from skipopu.hdl.formal.smtbmc_run import Smtbmc
from skipopu.hdl.formal.smtbmc_trace import Trace
from skipopu.hdl.verilog import emit


@dataclass(frozen=True)
class Verdict:
    """What came of a proof: where it failed, the claim and the values with which it does not hold."""

    bench: Bench
    seconds: float
    failed: str | None = None  # sentence of the claim
    counterexample: Trace | None = None  # from a reset on
    missed: tuple[str, ...] = ()  # situations that were not reached

    @property
    def proved(self) -> bool:
        """All claims hold in every step, and all situations occur."""
        return self.failed is None and not self.missed

    def __str__(self) -> str:
        """A line a claim: what is claimed | how it is proved | the result | seconds of the whole bench."""
        how = f"induction, {self.bench.steps} step{'s' * (self.bench.steps > 1)}"
        lines = [f"{self.bench.name}: {self.seconds:.1f} s", *(f"  given: {each}" for each in self.bench.assumed)]
        width = max(map(len, (*self.bench.claims, *self.bench.reached)))
        lines += [f"  {claim:<{width}} | {how} | {self._result(claim)}" for claim in self.bench.claims]
        reached = f"within {self.bench.search} steps"
        lines += [f"  {each:<{width}} | {reached} | {self._occurs(each)}" for each in self.bench.reached]
        return "\n".join((*lines, *self._why()))

    def _result(self, claim: str) -> str:
        if self.failed is None:
            return "proved"
        if self.failed != claim:
            return "open"
        return "not inductive" if self.counterexample is None else "WRONG"

    def _occurs(self, situation: str) -> str:
        if self.failed is not None:
            return "open"
        return "NOT REACHED" if situation in self.missed else "reached"

    def _why(self) -> Iterator[str]:
        if self.failed is not None:
            found = "counterexample" if self.counterexample else f"no counterexample in {self.bench.search} steps"
            yield f"  NOT PROVED: {self.failed}: {found}"
        if self.counterexample is not None:
            yield str(self.counterexample)


def prove(bench: Bench, texts: Mapping[str, str] | None = None) -> Verdict:
    """Prove the claims of ``bench`` of its block, or of other Verilog ``texts`` of it (module name → text).

    SpecError where Yosys does not take the text, UndecidedError where the solver takes too long.
    """
    begun, texts = time.perf_counter(), emit(bench.block) if texts is None else texts
    with Smtbmc(bench_text(bench, texts)) as smtbmc:
        failed = smtbmc.base(bench.steps) or smtbmc.induction(bench.steps)
        missed = _missed(bench, smtbmc) if bench.reached and not failed else ()
    if failed is None:
        return Verdict(bench, time.perf_counter() - begun, missed=missed)
    found = refute(bench, texts) or Verdict(bench, 0, bench.sentence(failed))
    return replace(found, seconds=time.perf_counter() - begun)


def refute(bench: Bench, texts: Mapping[str, str]) -> Verdict | None:
    """Return a claim that fails within ``search`` steps after a reset, whatever the invariants do; else None."""
    begun = time.perf_counter()
    with Smtbmc(bench_text(replace(bench, invariants=(), power_on=()), texts)) as smtbmc:
        wrong = smtbmc.base(bench.search)
        if wrong is None:
            return None
        return Verdict(bench, time.perf_counter() - begun, bench.sentence(wrong), smtbmc.trace(bench.shown))


def _missed(bench: Bench, smtbmc: Smtbmc) -> tuple[str, ...]:
    reached = smtbmc.reached(bench.search)
    return tuple(sentence for k, sentence in enumerate(bench.reached) if f"{COVERS}{k}" not in reached)


def main(benches: Iterable[Bench]) -> int:
    """Print claims and verdicts, bench by bench; return 1 where a proof fails."""
    failed = False
    for bench in benches:
        verdict = prove(bench)
        print(verdict, flush=True)
        failed |= not verdict.proved
    return int(failed)
