"""Bench of a proof, as Verilog: a block of which all inputs are free, what is assumed of them, what is claimed.

A step is an instant in which clock edges are; a clock is a condition of the step, so that any relation of two
clocks is a sequence of steps: ``always @(posedge clk)`` becomes ``always @($global_clock) if (clk)``. In step 0
all clocks have an edge and the reset is active; afterwards there is no reset.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from skipopu.hdl.formal.smtbmc_names import Header, declarations, hierarchical
from skipopu.hdl.verilog import Block

CLAIMS, ASSUMPTIONS, COVERS = "claim", "assumption", "situation"
EDGE = re.compile(r"always @\(posedge (\w+)\) begin")
CLOCKS = ("clk", "hbm_clk")
CAUGHT = re.compile(r"^    (?P<caught>\w+)_seen_1 <= (?P=caught);$", re.MULTILINE)


@dataclass(frozen=True)
class Bench:
    """What is claimed of a block.

    ``body`` : Verilog that follows what happens: it sees the ports by their names, what is inside as
    ``dut.<instance>.<signal>``. ``claims``, ``assumed``, ``reached`` : sentence → Verilog condition. ``invariants`` :
    conditions that are claimed, too, for the sake of the induction; ``power_on`` : those of step 0, from what the
    registers hold initially. ``ratio`` : edges of ``hbm_clk`` to one of
    ``clk``, aligned; None: the edges come in any order, and a flip-flop that catches a code of the other clock
    in motion (``<code>_seen_1``) takes of every bit the old or the new value. ``steps`` : of the induction;
    ``search`` : steps in which counterexamples and situations are looked for.
    """

    name: str
    block: Block
    claims: Mapping[str, str]
    body: str = ""
    assumed: Mapping[str, str] = field(default_factory=dict)
    invariants: tuple[str, ...] = ()
    power_on: tuple[str, ...] = ()
    reached: Mapping[str, str] = field(default_factory=dict)
    ratio: int | None = 1
    steps: int = 1
    search: int = 20

    def sentence(self, label: str) -> str:
        """What the assertion called ``label`` says."""
        number = int(label.removeprefix(CLAIMS))
        return [*self.claims, *(f"invariant {each}" for each in (*self.invariants, *self.power_on))][number]

    @property
    def shown(self) -> frozenset[str]:
        """Signals inside the block that a counterexample shows beside those of the bench."""
        return frozenset(re.findall(r"\bdut(?:\.\w+)+", " ".join(self._conditions())))

    def _conditions(self) -> Iterator[str]:
        yield self.body
        yield from (*self.claims.values(), *self.invariants, *self.power_on)
        yield from (*self.assumed.values(), *self.reached.values())

    def statements(self) -> str:
        """Assertions, assumptions and situations, with labels."""
        kinds = (
            (CLAIMS, "assert", (*self.claims.values(), *self.invariants)),
            (ASSUMPTIONS, "assume", self.assumed.values()),
            (COVERS, "cover", self.reached.values()),
        )
        lines = [
            f"  always @* if (!first_step) {label}{k}: {verb} ({condition});\n"
            for label, verb, conditions in kinds
            for k, condition in enumerate(conditions)
        ]
        lines += [
            f"  always @* if (first_step) {CLAIMS}{k}: assert ({condition});\n"
            for k, condition in enumerate(self.power_on, start=len(self.claims) + len(self.invariants))
        ]
        return "".join(lines)


def bench_text(bench: Bench, texts: Mapping[str, str]) -> str:
    """Return the Verilog of the whole: modules with clocks as conditions, and module ``bench`` on top."""
    if bench.ratio is None:
        texts = {name: _caught_in_motion(text) for name, text in texts.items()}
    header = Header.of(texts[bench.block.module])
    body = bench.body + bench.statements()
    seen, body = hierarchical(body, texts, bench.block.module)
    top = [
        "module bench;\n", _clocks(bench.ratio, [port.name for port in header.inputs]),
        declarations(header, CLOCKS), f"  {bench.block.module} dut ({_connections(header)});\n", seen, body,
        "endmodule\n",
    ]  # fmt: skip
    return EDGE.sub(r"always @($global_clock) if (\1) begin", "\n".join((*texts.values(), *top)))


def _connections(header: Header) -> str:
    return ", ".join(f".{port.name}({port.name})" for port in (*header.inputs, *header.outputs))


def _clocks(ratio: int | None, inputs: list[str]) -> str:
    """Clocks as conditions of a step, and the reset in step 0."""
    lines = ["reg first_step = 1;", "always @($global_clock) first_step <= 0;"]
    lines += ["wire rst = first_step, hbm_rst = first_step;"]
    if "hbm_clk" not in inputs:
        lines += ["wire clk = 1;"]
    elif ratio is None:
        lines += ["(* anyseq *) wire clk, hbm_clk;", "always @* assume (clk | hbm_clk);"]
        lines += ["always @* if (first_step) assume (clk & hbm_clk);"]
    else:
        lines += [f"reg [7:0] tick = {ratio - 1};", f"wire hbm_clk = 1, clk = tick == {ratio - 1};"]
        lines += ["always @($global_clock) tick <= clk ? 0 : tick + 1;"]
        lines += [f"always @* assume (tick < {ratio});", "always @* if (first_step) assume (clk);"]
    return "".join(f"  {line}\n" for line in lines)


def _caught_in_motion(text: str) -> str:
    """Let every flip-flop that catches a code take, bit by bit, what it was a step ago or what it is."""
    names = {match["caught"] for match in CAUGHT.finditer(text)}
    for name in names:
        width = re.search(rf"^  reg (\[\d+:0\] )?{name} ", text, re.MULTILINE)
        assert width is not None
        motion = (
            f"  (* anyseq *) wire {width[1] or ''}{name}_late;\n  reg {width[1] or ''}{name}_before;\n"
            f"  always @($global_clock) {name}_before <= rst ? 0 : {name};\n"
        )
        text = text.replace(width[0], motion + width[0])
        text = text.replace(
            f"    {name}_seen_1 <= {name};",
            f"    {name}_seen_1 <= ({name} & ~{name}_late) | ({name}_before & {name}_late);",
        )
    return text
