"""Blocks to emit: a stream, a structure, an array of ports, three instances, a second clock, and awkward arithmetic."""

import random
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from skipopu.hdl.verilog import Block, place


class Word(data.Struct):  # type: ignore[misc]
    """A small float."""

    fraction: unsigned(10)
    exponent: unsigned(5)
    sign: unsigned(1)


class Accumulator(Block):
    """Sum of the words it was given."""

    def __init__(self, *, width: int = 8, step: int = 0) -> None:
        self._step = step
        words = In(stream.Signature(signed(width)))
        super().__init__({"words": words, "total": Out(signed(width)), "tag": In(Word), "last": Out(Word)})

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        """Add while words come; hand the tag on with a larger exponent."""
        m = Module()
        m.d.comb += self.words.ready.eq(1)
        with m.If(self.words.valid):
            word = self.words.payload + self._step if self._step else self.words.payload
            m.d.sync += self.total.eq(self.total + word)
        m.d.sync += [self.last.fraction.eq(self.tag.fraction), self.last.sign.eq(self.tag.sign)]
        m.d.sync += self.last.exponent.eq(self.tag.exponent + 1)
        return m


class Trio(Block):
    """Three accumulators side by side, and the sum of their sums."""

    def __init__(self, *, width: int = 8, step: int = 0) -> None:
        self._part = Accumulator(width=width, step=step)
        self.count = 3
        words = In(stream.Signature(signed(width))).array(self.count)
        super().__init__({"words": words, "total": Out(signed(width + 2)), "tag": In(Word), "last": Out(Word)})

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        """The tag passes through all three, one cycle each."""
        m = Module()
        parts = [place(m, f"part{k}", self._part) for k in range(self.count)]
        tag = self.tag
        for words, part in zip(self.words, parts, strict=True):
            wiring.connect(m, wiring.flipped(words), part.words)
            m.d.comb += part.tag.eq(tag)
            tag = part.last
        m.d.comb += [self.last.eq(tag), self.total.eq(sum((part.total for part in parts), Const(0)))]
        return m


class Crossing(Block):
    """Takes a bit from one clock to another."""

    d: In(1)
    q: Out(1)
    nothing: In(0)

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        """Two registers."""
        m = Module()
        first = Signal()
        m.d.sync += first.eq(self.d)
        m.d.hbm += self.q.eq(first)
        return m


class Two(Block):
    """Two crossings, one behind the other."""

    d: In(1)
    q: Out(1)

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        """The second has an equal parameter list: it is the same module."""
        m = Module()
        a, b = place(m, "a", Crossing()), place(m, "b", Crossing())
        m.d.comb += [a.d.eq(self.d), b.d.eq(a.q), self.q.eq(b.q)]
        return m


class Mixed(Block):
    """Two accumulators of different width, both called accumulator: refused."""

    total: Out(9)

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        """Nothing but the two."""
        m = Module()
        narrow, wide = (place(m, name, Accumulator(width=width)) for name, width in (("narrow", 8), ("wide", 9)))
        m.d.comb += self.total.eq(narrow.total + wide.total)
        return m


class Awkward(Block):
    """Everything in which a careless folding of expressions would go wrong."""

    def __init__(self, *, seed: int, outputs: int = 24) -> None:
        self._random, self._outputs = random.Random(seed), outputs
        widths = {f"o{k}": Out(self._shape(9)) for k in range(outputs)}
        inputs = {f"i{k}": In(self._shape(6)) for k in range(6)}
        super().__init__({**inputs, **widths, "tag": In(Word), "bits": Out(6), "state": Out(2), "word": Out(4)})

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        """Random expressions, assignments to parts of a signal, a state machine and a memory."""
        m = Module()
        values: list[Value] = [getattr(self, f"i{k}") for k in range(6)]
        values += [self.tag.exponent, self.tag.fraction[2:7], self.tag.sign]
        for k in range(self._outputs):
            value = self._expression(values, 3)
            output = getattr(self, f"o{k}")
            (m.d.sync if k % 3 == 0 else m.d.comb).__iadd__(output.eq(value))
            values.append(output)
        self._parts(m, values)
        self._states(m, values)
        self._memory(m, values)
        return m

    def _shape(self, most: int) -> Any:
        return (signed if self._random.random() < 0.4 else unsigned)(self._random.randint(1, most))

    def _expression(self, values: list[Value], depth: int) -> Value:
        if depth == 0:
            return self._random.choice(values)
        a, b, c = (self._expression(values, depth - 1) for _ in range(3))
        amount = b.as_unsigned()[:2]
        found = self._random.choice((
            a + b, a - b, a + b - c, -a, ~a, a & b, a | ~b, a ^ b, Mux(a > b, b, c), Mux(a == b, a, c), a >> amount,
            a << amount, Cat(a, b), a.any(), a.all(), (a + b).as_signed(), (a - b).as_unsigned(), a[:2] * b[:2],
            (a < b) + (b != c), Const(3, 4) + a, Mux(c.any(), (a + b) >> amount, c)[:3],
        ))  # fmt: skip
        return found[: self._random.randint(1, 8)] if len(found) > 8 else found

    def _parts(self, m: Module, values: list[Value]) -> None:
        m.d.comb += [self.bits[k].eq(values[k] > values[k + 1]) for k in range(3)]
        m.d.sync += self.bits[3:5].eq(values[0] + values[1])
        with m.If(values[2].any()):
            m.d.sync += self.bits[5].eq(~self.bits[5])

    def _states(self, m: Module, values: list[Value]) -> None:
        with m.FSM():
            for name, following in (("IDLE", "BUSY"), ("BUSY", "DONE"), ("DONE", "IDLE")):
                with m.State(name):
                    m.d.comb += self.state.eq(len(name) - len(following) + 1)
                    with m.If(self._random.choice(values).any()):
                        m.next = following

    def _memory(self, m: Module, values: list[Value]) -> None:
        m.submodules.table = table = memory.Memory(shape=4, depth=4, init=[1, 2])
        write, read = table.write_port(), table.read_port(domain="comb")
        m.d.comb += [write.addr.eq(values[0]), write.data.eq(values[1]), write.en.eq(values[2].any())]
        m.d.comb += [read.addr.eq(values[3]), self.word.eq(read.data)]
