"""Facts of a Verilog netlist: ports, instances, operators, flip-flops, memories; the hierarchy multiplied out."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """A port of a module."""

    name: str
    direction: str  # "in" or "out"
    bits: int


@dataclass(frozen=True)
class Memory:
    """An array of registers; ``read_bits`` are those of the registers behind its read ports.

    ``immediate``: places that read it without a clock edge, as LUTs do and block RAM does not. ``addressed``: read
    ports that keep the address, a register of the module, not the word. ``written``: there is a write port; without
    one it is a table. ``style``: what the Verilog asks for, or "".
    """

    words: int
    bits: int
    read_bits: int
    immediate: int = 0
    addressed: int = 0
    written: bool = True
    style: str = ""

    @property
    def read_ports(self) -> int:
        """Words that can be read in a cycle."""
        return -(-self.read_bits // self.bits) + self.immediate

    @property
    def bits_in_all(self) -> int:
        """Of all words."""
        return self.words * self.bits


@dataclass(frozen=True)
class Netlist:
    """What stands in one module, the modules below it not counted.

    ``instances``: instance → module. ``operators``: symbol → how often. ``flip_flops``: register → bits that
    a clock edge assigns, without those behind read ports of ``memories``. ``multipliers``: bits of both factors of
    every ``*``, signs not counted; none where a factor is a constant.
    """

    name: str
    ports: tuple[Port, ...]
    instances: Mapping[str, str]
    operators: Mapping[str, int]
    flip_flops: Mapping[str, int]
    memories: Mapping[str, Memory]
    multipliers: tuple[tuple[int, int], ...] = ()

    @property
    def flip_flop_bits(self) -> int:
        """Register bits of the module."""
        return sum(self.flip_flops.values())


@dataclass(frozen=True)
class Totals:
    """A module with all below it: every module times the places it stands in, itself included once."""

    instances: Mapping[str, int]
    operators: Mapping[str, int]
    flip_flop_bits: int
    memory_bits: int


def read_netlist(
    texts: Mapping[str, str], progress: Callable[[int, int], None] | None = None
) -> dict[str, Netlist]:  # fmt: skip
    """Return the facts of every module of ``texts`` (module name → Verilog), each text parsed once.

    ``progress`` is told modules read, and of how many. SpecError where pyverilog cannot read a text, or finds in it
    anything else than that one module.
    """
    from skipopu.hdl.netlist_kept import read_module

    found: dict[str, Netlist] = {}
    for name, text in texts.items():
        found[name] = read_module(name, text)
        if progress is not None:
            progress(len(found), len(texts))
    return found


def totals(modules: Mapping[str, Netlist], top: str) -> Totals:
    """Multiply out the hierarchy below ``top``; of a module not in ``modules`` only the instances count."""
    places = _places(modules, top)
    found = {name: count for name, count in places.items() if name in modules}
    operators: Counter[str] = Counter()
    for name, count in found.items():
        for symbol, number in modules[name].operators.items():
            operators[symbol] += count * number
    return Totals(
        instances=places,
        operators=operators,
        flip_flop_bits=sum(count * modules[name].flip_flop_bits for name, count in found.items()),
        memory_bits=sum(
            count * memory.bits_in_all for name, count in found.items() for memory in modules[name].memories.values()
        ),
    )


def _places(modules: Mapping[str, Netlist], top: str) -> Counter[str]:
    """In how many places each module stands."""
    places = Counter({top: 1})
    if top in modules:
        for child, count in Counter(modules[top].instances.values()).items():
            for name, number in _places(modules, child).items():
                places[name] += count * number
    return places
