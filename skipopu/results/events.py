"""`events.parquet`: one row for each instruction, in program order.

Columns: ``instruction`` (index), ``engine``, ``opcode``, ``phase`` (names), ``step`` (index into the trace's
steps), ``layer`` (−1 outside the layers), ``issue``, ``first``, ``last`` (core cycles, see `Retired`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skipopu.sim.run import Ints, Retired
from skipopu.spec.ledger import Block, Named, Phase

if TYPE_CHECKING:
    import polars as pl

NUMBERS = ("step", "layer", "issue", "first", "last")


def opcode_names() -> dict[int, str]:
    """Return the name of every opcode of the instruction set."""
    from skipopu.program.isa import Opcode

    return {int(opcode): opcode.name.lower() for opcode in Opcode}


def frame(retired: Retired, opcodes: Mapping[int, str], first_decode_step: int) -> "pl.DataFrame":
    """Return the retire stream as a table; ``opcodes`` names each opcode that occurs."""
    import polars as pl

    engines = _names(retired.engine, _members(Block))
    phases = _names((retired.step >= first_decode_step).astype(np.int64), _members(Phase))
    columns: dict[str, Any] = {
        "instruction": pl.Series(np.arange(len(retired.step)), dtype=pl.UInt32),
        "engine": engines,
        "opcode": _names(retired.opcode, opcodes),
        "phase": phases,
        "step": pl.Series(retired.step, dtype=pl.Int32),
        "layer": pl.Series(retired.layer, dtype=pl.Int16),
    }
    cycles = {name: pl.Series(getattr(retired, name), dtype=pl.Int64) for name in ("issue", "first", "last")}
    return pl.DataFrame(columns | cycles)


def write(path: Path, table: "pl.DataFrame") -> None:
    """Write ``table``; the same table gives the same bytes."""
    table.write_parquet(path, compression="zstd", compression_level=9, statistics=True)


def read(path: Path, opcodes: Mapping[int, str]) -> Retired:
    """Read back what `write` wrote; ``opcodes`` are the names it was written with."""
    import polars as pl

    table = pl.read_parquet(path)
    engine = _numbers(table["engine"], _members(Block))
    numbers = {name: table[name].cast(pl.Int64).to_numpy() for name in NUMBERS}
    return Retired(engine=engine, opcode=_numbers(table["opcode"], opcodes), **numbers)


def _members(kind: type[Named]) -> dict[int, str]:
    return {int(member): member.label for member in kind}


def _names(values: Ints, names: Mapping[int, str]) -> "pl.Series":
    """Turn numbers into a column of names whose set is fixed, so that it does not depend on the run."""
    import polars as pl

    labels = [names[number] for number in sorted(names)]
    positions = np.searchsorted(sorted(names), values)
    return pl.Series(labels, dtype=pl.Enum(labels)).gather(positions)


def _numbers(column: "pl.Series", names: Mapping[int, str]) -> Ints:
    lookup = np.array(sorted(names), dtype=np.int64)
    numbers: Ints = lookup[column.to_physical().to_numpy()]
    return numbers
