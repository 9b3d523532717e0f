"""Shell of the result path: few wide ports, inputs registered, so that a bench reads and writes once a cycle."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.cosim.npe_results_events import GIVEN, SEEN, list_index
from skipopu.hdl.npe.result_path import ResultPath
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import Overlay

SIDE = ("scale", "bias", "residual", "visible")


class NpeResults(Block):
    """The result path; what is not valid is inverted, so that a block that looks in another cycle sees rubbish.

    The list of executed rows is the Gray code.

    Parameters
    ----------
    overlay : as of `ResultPath`

    Ports
    -----
    given : in, flags `GIVEN` · seen : out, flags `SEEN`
    operation, sums, side, rotary_address, rotary_data : in, words from DDR4
        side: scales, biases, residuals, visible, from bit 0
    request : out, its payload · result : out, lanes, then the word's place · logits : out, four, then the row

    Timing
    ------
    Inputs reach the block the cycle after; outputs come at once.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        block = ResultPath(overlay=overlay)
        bits = {"__".join(map(str, path)): len(Value.cast(value)) for path, _, value in _flat(block)}
        super().__init__({
            "given": In(len(GIVEN)), "seen": Out(len(SEEN)),
            "operation": In(len(Value.cast(block.operation.payload))), "sums": In(len(Value.cast(block.sums.payload))),
            "side": In(sum(bits[name] for name in SIDE)),
            "rotary_address": In(bits["rotary__address"]), "rotary_data": In(bits["rotary__data"]),
            "request": Out(len(Value.cast(block.request.payload))),
            "result": Out(bits["result"] + bits["result_word"]), "logits": Out(bits["logits"] + bits["logits_row"]),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Registers in, wires out."""
        m = Module()
        block = place(m, "block", ResultPath(overlay=self._overlay))
        given, values = Signal(len(GIVEN), name="given_now"), {}
        m.d.sync += given.eq(self.given)
        for name in ("operation", "sums", "side", "rotary_address", "rotary_data"):
            port = getattr(self, name)
            values[name] = Signal(len(port), name=f"{name}_now", reset_less=True)
            m.d.sync += values[name].eq(port)
        inputs = [Value.cast(getattr(block, name)) for name in SIDE]
        m.d.comb += [
            block.operation.valid.eq(given[0]), block.sums.valid.eq(given[1]), block.request.ready.eq(given[2]),
            Value.cast(block.operation.payload).eq(_shown(given[0], values["operation"])),
            Value.cast(block.sums.payload).eq(_shown(given[1], values["sums"])),
            Cat(inputs).eq(_shown(given[3], values["side"])),
            block.rotary.valid.eq(given[4]), block.rotary.address.eq(values["rotary_address"]),
            block.rotary.data.eq(values["rotary_data"]),
            block.list_index.eq(list_index(block.list_row)),
            self.seen.eq(Cat(
                block.operation.ready, block.sums.ready, block.request.valid, block.logits_valid, block.result_valid
            )),
            self.request.eq(block.request.payload), self.result.eq(Cat(block.result, block.result_word)),
            self.logits.eq(Cat(block.logits, block.logits_row)),
        ]  # fmt: skip
        return m


def _shown(valid: Value, value: Value) -> Value:
    return Mux(valid, value, ~value)


def _flat(block: Block) -> Any:
    return block.signature.flatten(block)
