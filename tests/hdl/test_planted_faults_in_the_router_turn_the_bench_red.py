"""One fault at a time in the RTL from logits to bitmask: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Mux, Signal, Value

from skipopu.hdl.cosim.router import cosimulate
from skipopu.hdl.npe import router as comparison
from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.router import Router, at_least
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.router import ATTENTION, RouterPath
from skipopu.hdl.row_list import GateRows, RowList
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
TOKENS, SEED = 400, 3
pytestmark = pytest.mark.usefixtures("converted_anew")


def one_more(right: Method) -> Method:
    return lambda self, *arguments: right(self, *arguments) + 1


def the_token_after(right: Method) -> Method:
    def token(self: RouterPath, m: Module, operation: Any) -> Any:
        found = right(self, m, operation)
        m.d.comb += found.token.eq(operation.first_token + self.row + 1)
        return found

    return token


def bit_of_the_neighbour(right: Method) -> Method:
    def memory(self: GateRows, m: Module, name: str, width: int, write: Any, asked: Any) -> Any:
        enable, address, word = write
        return right(self, m, name, width, (enable, address ^ (name == "marked"), word), asked)

    return memory


def a_cycle_late(right: Method) -> Method:
    def memory(self: GateRows, m: Module, name: str, width: int, write: Any, asked: Any) -> Any:
        if name == "listed":
            write = tuple(delayed(m, value, 1, f"late{k}") for k, value in enumerate(write))
        return right(self, m, name, width, write, asked)

    return memory


def the_position_after(right: Method) -> Method:
    def memory(self: GateRows, m: Module, name: str, width: int, write: Any, asked: Any) -> Any:
        if name == "listed":
            asked = {reader: (address + 1)[: len(address)] for reader, address in asked.items()}
        return right(self, m, name, width, write, asked)

    return memory


def ties_skip(_: Method) -> Method:
    return lambda execute, skip: ~at_least(skip, execute)


def nan_skips(_: Method) -> Method:
    def elaborate(self: Router, platform: Any) -> Module:
        m = Module()
        nan = [fields(m, logit, FP32, name).nan for name, logit in (("execute", self.execute), ("skip", self.skip))]
        executes = Signal(name="executes_now")
        m.d.comb += executes.eq(~nan[0] & ~nan[1] & at_least(self.execute, self.skip))
        m.d.comb += self.executes.eq(delayed(m, executes, self._stages, "executes"))
        return m

    return elaborate


def the_other_gate(right: Method) -> Method:
    return lambda self, operation, gate: right(self, operation, 1 - gate)


def never_cleared(_: Method) -> Method:
    return lambda self, counts: Mux(self.mask, counts[1], counts[0])


def register_0(_: Method) -> Method:
    return lambda self, mask: Const(0, 1)


def without_the_first_cycle(right: Method) -> Method:
    def operation(self: RouterPath, m: Module) -> Any:
        before = Signal.like(right(self, m), name="before")
        with m.If(self.start):
            m.d.sync += before.eq(self.operation)
        return before

    return operation


def every_gate_begins(right: Method) -> Method:
    def gate(self: RowList, m: Module, *arguments: Any) -> Any:
        found = right(self, m, *arguments)
        m.d.comb += found.start.eq(self.start)
        return found

    return gate


def whoever_routes(right: Method) -> Method:
    def note(self: RouterPath, m: Module, rows: Any, token: Any) -> None:
        right(self, m, rows, token)
        m.d.comb += self.mask_write.eq(rows.write)

    return note


def no_bitmask_in_ffn_blocks(right: Method) -> Method:
    def note(self: RouterPath, m: Module, rows: Any, token: Any) -> None:
        right(self, m, rows, token)
        alone: Value = token.gates == 1 << ATTENTION
        m.d.comb += self.mask_write.eq(rows.write & alone)

    return note


Fault = tuple[Any, str, Callable[[Method], Method]]
FAULTS: dict[str, Fault] = {
    "a tie skips": (comparison, "at_least", ties_skip),
    "a NaN skips": (Router, "elaborate", nan_skips),
    "attention and ffn take each other's logits": (RouterPath, "_pair", the_other_gate),
    "the list holds row + 1": (GateRows, "_entry", one_more),
    "the bit is the next token's": (RouterPath, "_token", the_token_after),
    "the bit is the neighbour's": (GateRows, "_memory", bit_of_the_neighbour),
    "the count is not cleared": (GateRows, "_before", never_cleared),
    "the mask register is ignored": (GateRows, "_register", register_0),
    "the list is written a cycle late": (GateRows, "_memory", a_cycle_late),
    "positions are off by one": (GateRows, "_memory", the_position_after),
    "all is a cycle late": (RouterPath, "_stages", one_more),
    "an operation is in force from the cycle after its start": (RouterPath, "_operation", without_the_first_cycle),
    "a gate that is not routed loses its list": (RowList, "_gate", every_gate_begins),
    "ffn's routers write the bitmask": (RouterPath, "_note", whoever_routes),
    "the bitmask is not written where both gates route": (RouterPath, "_note", no_bitmask_in_ffn_blocks),
}


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    assert cosimulate(Overlay.load("tiny"), TOKENS, SEED).difference is None


@pytest.mark.slow
@pytest.mark.parametrize(("block", "method", "fault"), FAULTS.values(), ids=FAULTS)
def test_the_fault_is_found(
    block: Any, method: str, fault: Callable[[Method], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert cosimulate(Overlay.load("tiny"), TOKENS, SEED).difference is not None
