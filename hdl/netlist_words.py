"""LUTs of every module of emitted Verilog: yosys reads it into words, `netlist_gates` and `netlist_luts` count."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from skipopu.hdl import netlist_gates, netlist_luts
from skipopu.hdl.netlist_luts import Luts
from skipopu.hdl.synthesis_cache import keep, kept, sources
from skipopu.hdl.yosys import Progress, children, stub, unfilled, yosys
from skipopu.spec import resource_terms, resources_of_logic

CACHE = "luts"
BATCH = 1_000_000  # characters of Verilog in a run, one module at least
# Words are cut to the bits that count, enables and resets found in choices, reads joined with their registers; nothing
# is mapped. `opt_clean -purge` takes out the names of array elements.
SCRIPT = (
    "read_verilog {source}; hierarchy; proc; opt_clean -purge; opt; wreduce; peepopt; opt; memory_dff;"
    " memory_collect; opt_clean; write_json {result}"
)
COUNTED_BY = (netlist_gates, netlist_luts, resource_terms, resources_of_logic)


def read_luts(texts: Mapping[str, str], progress: Progress | None = None) -> dict[str, Luts]:
    """Return the LUTs of each module of ``texts`` (module → Verilog), those below it not counted.

    From the cache what is there; SynthesisError if yosys cannot read the rest.
    """
    found = {name: Luts(**was) for name, text in texts.items() if (was := kept(CACHE, _identity(text))) is not None}
    for batch in _batches(texts, [name for name in texts if name not in found]):
        found |= _counted(texts, batch)
        if progress is not None:
            progress(len(found), len(texts))
    return {name: found[name] for name in texts}


def _batches(texts: Mapping[str, str], names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The small ones together."""
    batch: list[str] = []
    for name in sorted(names, key=lambda name: len(texts[name])):
        if batch and sum(len(texts[each]) for each in (*batch, name)) > BATCH:
            yield batch
            batch = []
        batch.append(name)
    if batch:
        yield batch


def _counted(texts: Mapping[str, str], names: Sequence[str]) -> dict[str, Luts]:
    """Modules below them are black boxes."""
    below = dict.fromkeys(child for name in names for child in children(texts, name) if child not in names)
    source = "\n".join((*(unfilled(texts[name]) for name in names), *(stub(texts[child]) for child in below)))
    modules = json.loads(yosys(source, SCRIPT))["modules"]
    found = {name: netlist_luts.luts(netlist_gates.gates(modules[name])) for name in names}
    for name, each in found.items():
        keep(CACHE, _identity(texts[name]), asdict(each))
    return found


def _identity(text: str) -> str:
    return f"{SCRIPT}\0{sources(COUNTED_BY)}\0{text}"
