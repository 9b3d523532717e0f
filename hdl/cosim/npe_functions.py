"""Co-simulation of the NPE's function units: RTL = numerics in every bit, exactly ``stages`` cycles later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.npe_function import Case, Function, Ports, inputs_of, outputs_of
from skipopu.hdl.cosim.npe_function_shell import NpeFunctions
from skipopu.hdl.cosim.testbench import Testbench

BENCH = "skipopu.hdl.cosim.npe_function_bench"


@dataclass(frozen=True)
class NpeFunctionsRun:
    """What was compared, and the first difference of every unit that has one."""

    cases: dict[str, int]
    cycles: int
    build_seconds: float
    run_seconds: float
    differences: dict[str, Difference]


def cosimulate(functions: Sequence[Function], seed: int, *, stages: int | None = None) -> NpeFunctionsRun:
    """Run the cases of all ``functions`` through RTL and numerics; ``stages`` for all units instead of their own."""
    latencies = [f.stages if stages is None else stages for f in functions]
    units = tuple(f.unit(latency) for f, latency in zip(functions, latencies, strict=True))
    testbench = Testbench(NpeFunctions(units=units), BENCH)
    rng = np.random.default_rng(seed)
    cases = [list(f.cases(rng)) for f in functions]
    cycles = max(map(len, cases)) + max(latencies)
    inputs, outputs = [inputs_of(unit) for unit in units], [outputs_of(unit) for unit in units]
    given = _rows([_words(ports, each, cycles) for ports, each in zip(inputs, cases, strict=True)], inputs)
    results = _columns(testbench.outputs({"operands": given})["results"], outputs)
    differences = {
        f.name: difference
        for f, each, ports, latency, words in zip(functions, cases, outputs, latencies, results, strict=True)
        if (difference := _first_difference(f, each, ports, words[latency:]))
    }
    counts = {f.name: len(each) for f, each in zip(functions, cases, strict=True)}
    return NpeFunctionsRun(counts, cycles, testbench.build_seconds, testbench.run_seconds, differences)


def _words(ports: Ports, cases: Sequence[Case], cycles: int) -> list[int]:
    """A word a cycle; shorter lists of cases repeat."""
    words = [ports.word(case) for case in cases]
    return [words[cycle % len(words)] for cycle in range(cycles)]


def _rows(columns: Sequence[Sequence[int]], ports: Sequence[Ports]) -> NDArray[np.uint8]:
    """Words of all units side by side as rows of bytes, [cycles, bytes]."""
    bits = [each.bits for each in ports]
    size, rows = sum(bits) // 8 + 1, []
    for words in zip(*columns, strict=True):
        row, at = 0, 0
        for word, width in zip(words, bits, strict=True):
            row |= word << at
            at += width
        rows.append(row.to_bytes(size, "little"))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)


def _columns(rows: NDArray[np.uint8], ports: Sequence[Ports]) -> list[list[int]]:
    """The inverse of `_rows`."""
    words, columns = [int.from_bytes(row.tobytes(), "little") for row in rows], []
    for each in ports:
        bits = each.bits
        columns.append([word & ((1 << bits) - 1) for word in words])
        words = [word >> bits for word in words]
    return columns


def _first_difference(
    function: Function, cases: Sequence[Case], ports: Ports, words: Sequence[int]
) -> Difference | None:
    """The first case that RTL and numerics see differently; every case is compared."""
    for index, (case, word) in enumerate(zip(cases, words, strict=False)):
        expected = ports.word(function.expected(*case))
        pairs: Any = zip(ports.names, ports.case(expected), ports.case(word), strict=True) if expected != word else ()
        for name, model, rtl in pairs:
            if model != rtl:
                given = ", ".join(f"{value:#x}" for value in case)
                return Difference("case", index, f"{function.name}({given}): {name}", model, rtl)
    return None
