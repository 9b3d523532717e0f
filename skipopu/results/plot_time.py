"""Where the cycles went: by block and cause, and by operation and layer."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.results.figure import CAUSE_COLOURS, OPERATION_COLOURS, PALE, picture, words
from skipopu.results.quantity import number, quantity, scale
from skipopu.results.record import Record
from skipopu.results.spans import phase_cycles
from skipopu.sim.run import Ints
from skipopu.spec.ledger import Block, Cause, Phase

LEGIBLE = 9.0  # percent: a share printed inside a narrower bar would not fit
LEGEND_COLUMNS, LEGEND_LINE = 4, 0.2  # beside one another in half a page; of the highest bar, above it


def blocks_and_causes(record: Record) -> str:
    """Stacked bars, one a block: what share of the phase each cause took. Returns the picture's address."""
    phases = [phase for phase in Phase if phase_cycles(record.run)[phase]]
    with picture(3.3, 1, len(phases), sharey=True) as drawn:
        for axis, phase in zip(drawn.axes[0], phases, strict=True):
            _stacked_causes(axis, record, phase)
        drawn.axes[0][0].invert_yaxis()
        handles, labels = drawn.axes[0][0].get_legend_handles_labels()
        drawn.figure.legend(handles, labels, loc="outside lower center", ncols=len(Cause), columnspacing=1.1)
    return drawn.source


def operations(record: Record) -> str:
    """Time in retired instructions by operation, and of the PE array by layer; one row a phase."""
    spans, compute = operation_cycles(record), compute_opcodes(record)
    colours = dict(zip(compute, cycle(OPERATION_COLOURS), strict=False))
    phases = [phase for phase in Phase if phase_cycles(record.run)[phase]]
    with picture(2.7 * len(phases), len(phases), 2, width_ratios=[1, 1.5]) as drawn:
        for (left, right), phase in zip(drawn.axes, phases, strict=True):
            seconds = {
                name: table[phase] / (record.summary["clock_mhz"] * 1e6) for name, table in spans.items()
            }
            _by_operation(left, seconds, colours)
            _by_layer(right, {name: seconds[name] for name in compute}, colours)
            left.set_title(f"{phase.label}, by operation")
            right.set_title(f"{phase.label}, PE array by layer")
    return drawn.source


def operation_cycles(record: Record) -> dict[str, Ints]:
    """Sum first-to-last cycles of instructions: ``{operation: [Phase, layers + 1]}``, by opcode.

    The last entry of the layer axis holds what lies outside the layers.
    """
    r = record.run.retired
    layers = record.rows["q"].shape[0]
    phase = (r.step >= record.first_decode_step).astype(np.int64)
    layer = np.where(r.layer < 0, layers, r.layer)
    sums: dict[str, Ints] = {}
    for opcode in np.unique(r.opcode[r.engine != Block.SEQUENCER]).tolist():
        mine = r.opcode == opcode
        table = np.zeros((len(Phase), layers + 1), dtype=np.int64)
        np.add.at(table, (phase[mine], layer[mine]), (r.last - r.first + 1)[mine])
        sums[record.opcodes[opcode]] = table
    return sums


def compute_opcodes(record: Record) -> list[str]:
    """Names of the operations of the PE array that occur, in the order of the instruction set."""
    r = record.run.retired
    return [record.opcodes[opcode] for opcode in np.unique(r.opcode[r.engine == Block.PE_ARRAY]).tolist()]


def _stacked_causes(axis: Any, record: Record, phase: Phase) -> None:
    cycles = phase_cycles(record.run)[phase]
    share = record.run.ledger[phase] * (100 / cycles)
    names = [words(block.label) for block in Block]
    left = np.zeros(len(Block))
    for cause in Cause:
        colour, label = CAUSE_COLOURS[cause], words(cause.label)
        axis.barh(names, share[:, cause], left=left, height=0.72, color=colour, label=label)
        left += share[:, cause]
    for block in Block:
        _print_shares(axis, share[block], int(block))
    seconds = cycles / (record.summary["clock_mhz"] * 1e6)
    axis.set(xlim=(0, 100), xlabel=f"share of {phase.label} cycles (%)")
    axis.set_title(f"{phase.label}: {cycles:,} cycles, {quantity(seconds, 's')}")
    axis.tick_params(left=False)


def _print_shares(axis: Any, share: NDArray[np.float64], position: int) -> None:
    """Print each share inside its bar where there is room, but not on what is merely idle."""
    left = 0.0
    for cause in Cause:
        if share[cause] >= LEGIBLE and cause is not Cause.IDLE:
            middle = left + share[cause] / 2
            axis.text(
                middle, position, f"{share[cause]:.0f}", ha="center", va="center", color="white", fontsize=7.5
            )
        left += float(share[cause])


def _by_operation(axis: Any, seconds: Mapping[str, NDArray[np.float64]], colours: Mapping[str, str]) -> None:
    names = sorted(seconds, key=lambda name: -float(seconds[name].sum()))
    sums = [float(seconds[name].sum()) for name in names]
    factor, unit = scale(sums, "s")
    lengths = [value / factor for value in sums]
    axis.barh(
        [words(name) for name in names],
        lengths,
        color=[colours.get(name, PALE) for name in names],
        height=0.7,
    )
    for position, length in enumerate(lengths):
        axis.text(length, position, f" {number(length)}", va="center", fontsize=7.5)
    axis.invert_yaxis()
    axis.set_xlabel(f"time in instructions ({unit})")
    axis.margins(x=0.16)
    axis.tick_params(left=False)


def _by_layer(axis: Any, seconds: Mapping[str, NDArray[np.float64]], colours: Mapping[str, str]) -> None:
    """Stack the operations of each layer; what lies outside the layers stands apart at the right."""
    layers = len(next(iter(seconds.values()))) - 1
    outside = layers + 0.6
    factor, unit = scale(list(np.sum(list(seconds.values()), axis=0)), "s")
    below = np.zeros(layers + 1)
    for name, heights in seconds.items():
        places, colour = np.append(np.arange(layers), outside), colours[name]
        axis.bar(places, heights / factor, bottom=below, width=0.86, color=colour, label=words(name))
        below += heights / factor
    ticks = list(range(0, layers, max(1, layers // 8)))
    axis.set_xticks([*ticks, outside], [*map(str, ticks), "out"])
    axis.set(xlabel="layer (out: outside the layers)", ylabel=f"time ({unit})", xlim=(-0.6, layers + 1.2))
    lines = -(-len(seconds) // LEGEND_COLUMNS)
    axis.set_ylim(0, (1 + LEGEND_LINE * lines) * float(below.max()) or 1)
    axis.grid(axis="y")
    axis.legend(ncols=min(len(seconds), LEGEND_COLUMNS), loc="upper left")
