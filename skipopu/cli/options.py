"""Arguments that several commands share, each with one name and one meaning."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from skipopu.spec.error import SpecError

OVERLAY, BOARD = "skipopu-u280", "u280"

Traces = Annotated[list[Path], typer.Argument(metavar="T...", help="Trace files or result directories.")]
TraceFile = Annotated[Path, typer.Argument(metavar="T", help="A trace file of skipopu trace.")]
OverlayName = Annotated[str, typer.Option("--overlay", help="A shipped overlay or a .toml file.")]
BoardName = Annotated[str, typer.Option("--board", help="A shipped board or a .toml file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value for a parameter, e.g. pe_array.columns=64 or board.hbm.timing.tRP=6; repeatable.",
    ),
]
MaxCycles = Annotated[int | None, typer.Option("--max-cycles", min=1, help="Give up beyond so many.")]


class KvMapName(StrEnum):
    """How K/V lie in HBM."""

    TOKEN_WISE = "token_wise"
    INTERLEAVED = "interleaved"


class Switch(StrEnum):
    """A part of the overlay that can be left out."""

    ON = "on"
    OFF = "off"


class DataflowName(StrEnum):
    """The dataflows of `skipopu.program.dataflow`, which is too heavy to import for a help text."""

    BASELINE = "baseline"
    PARTIAL_SKIP = "partial_skip"
    KV_REUSE = "kv_reuse"
    KV_REUSE_FUSED = "kv_reuse_fused"


class DataflowChoice(StrEnum):
    """A dataflow, or each of them."""

    BASELINE = "baseline"
    PARTIAL_SKIP = "partial_skip"
    KV_REUSE = "kv_reuse"
    KV_REUSE_FUSED = "kv_reuse_fused"
    ALL = "all"


DATAFLOW_HELP = "Of SkipOPU §5.3: what is computed of skipped tokens, and whether norm and softmax are fused."
DataflowOption = Annotated[DataflowName | None, typer.Option("--dataflow", help=DATAFLOW_HELP)]
MAP_HELP, BUFFER_HELP = "Where K/V lie; interleaved has no buffer.", "The invariance buffer."
PORTS, MAP, ENABLED = "dma.hbm_ports", "kv_buffer.map", "kv_buffer.enabled"
Ports = Annotated[int | None, typer.Option("--ports", help=f"HBM ports; short for --set {PORTS}=N.")]
KvMap = Annotated[KvMapName | None, typer.Option("--kv-map", help=MAP_HELP)]
KvBuffer = Annotated[Switch | None, typer.Option("--kv-buffer", help=BUFFER_HELP)]


def with_memory(
    settings: Iterable[str] | None, ports: int | None, kv_map: KvMapName | None, buffer: Switch | None
) -> tuple[str, ...]:
    """Return ``settings`` and those that the short options stand for.

    The interleaved map goes without the buffer, unless somebody says otherwise. Raises SpecError where a key is given
    twice.
    """
    given = tuple(settings or ())
    keys = {setting.partition("=")[0] for setting in given}
    added = {
        PORTS: None if ports is None else str(ports),
        MAP: None if kv_map is None else kv_map.value,
        ENABLED: None if buffer is None else str(buffer is Switch.ON).lower(),
    }
    for key, value in added.items():
        if value is not None and key in keys:
            raise SpecError(f"--set {key} and its short option ({value}) are both given; give one")
    if kv_map is KvMapName.INTERLEAVED and buffer is None and ENABLED not in keys:
        added[ENABLED] = "false"
    return (*given, *(f"{key}={value}" for key, value in added.items() if value is not None))


def with_dataflow(settings: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return ``settings`` and those of a dataflow; raises SpecError where a key is given already."""
    from skipopu.program.dataflow import DATAFLOWS

    ours = DATAFLOWS[name].settings
    keys = {setting.partition("=")[0] for setting in ours}
    for setting in settings:
        if setting.partition("=")[0] in keys:
            raise SpecError(f"--set {setting}: --dataflow {name} sets it; give one of the two")
    return (*settings, *ours)
