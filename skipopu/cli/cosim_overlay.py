"""`skipopu cosim overlay`: a whole program in RTL, simulator, functional machine and numerics."""

import dataclasses
import json as json_text
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from skipopu.cli.terminal import say
from skipopu.cli.trace import SHIPPED_NAME
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.hdl.cosim.overlay import OverlayRun
    from skipopu.hdl.cosim.overlay_case import Case

WHOLE = "overlay"
LAYERS, PROMPT, DECODE = 2, 16, 8
# what the shipped model reads: bytes of a Python source, as in its training
TEXT = '''class Queue:
    """First in, first out."""

    def __init__(self, maxsize=0):
        self.maxsize = maxsize
        self.queue = deque()

    def put(self, item):
        while len(self.queue) >= self.maxsize:
            self.not_full.wait()
        self.queue.append(item)
'''


@dataclass(frozen=True)
class Work:
    """Options of the overlay alone; None where they were not given."""

    layers: int | None
    prompt: int | None
    decode: int | None
    case: Path | None
    stall_seed: int | None


def refuse(block: str, foreign: Mapping[str, object]) -> None:
    """Raise SpecError where an option was given that the block does not have; ``foreign`` name → value, None if not."""
    for name, value in foreign.items():
        if value is not None:
            instead = "--layers, --prompt, --decode" if block == WHOLE else f"cosim {WHOLE}"
            raise SpecError(f"cosim {block}: --{name.replace('_', '-')} {value} is not for this block; use {instead}")


def cosim_overlay(overlay: str, settings: list[str], work: Work, waves: Path | None, json: bool) -> None:
    """Run a case and print what was compared; status 1 where something differs."""
    try:
        from skipopu.hdl.cosim.overlay import cosimulate
    except ModuleNotFoundError as error:
        raise SpecError(f"cosim needs {error.name}; pip install 'skipopu[rtl]'") from None
    case = _trained(overlay, settings, work) if work.case is None else _kept(work.case, overlay, settings, work)
    found = cosimulate(case, stall_seed=work.stall_seed, waves=waves)
    if json:
        values = dataclasses.asdict(found) | {"equal": not found.differences}
        sys.stdout.write(json_text.dumps(values, indent=1) + "\n")
    else:
        _show(found, waves)
    if found.differences:
        raise typer.Exit(1)


def _trained(overlay: str, settings: list[str], work: Work) -> "Case":
    """The first layers of the shipped model, weights to the nearest INT4 value."""
    from skipopu.hdl.cosim.overlay_case import decided_case
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay

    try:
        from skipopu.models.checkpoint import open_checkpoint
        from skipopu.models.overlay_parameters import header_of, overlay_parameters
        from skipopu.models.quantization import first_layers, quantise
        from skipopu.program.constant_element import with_constant_element
    except ModuleNotFoundError as error:
        instead = "pip install 'skipopu[models]', or give --case"
        raise SpecError(f"the shipped model needs {error.name}; {instead}") from None
    prompt, decode = _lengths(work)
    opened = open_checkpoint(SHIPPED_NAME)
    model = first_layers(opened.model, work.layers or LAYERS)
    origin = {"name": opened.name, "source": f"checkpoint {opened.name}, cosim overlay"}
    # the trained routers have biases, which ROUTE does not add
    parameters = with_constant_element(overlay_parameters(quantise(model, "rtn"), prompt + decode, **origin))
    header = replace(header_of(model, **origin), shape=parameters.shape)
    ids = opened.encode(TEXT)[:prompt]
    chosen, board = Overlay.load(overlay, tuple(settings)), Board.load("u280")
    return decided_case(parameters, header, ids, decode, chosen, board)


def _lengths(work: Work) -> tuple[int, int]:
    prompt, decode = work.prompt or PROMPT, DECODE if work.decode is None else work.decode
    if prompt > len(TEXT):
        raise SpecError(f"--prompt {prompt}: the text has {len(TEXT)} tokens; must be in 1..{len(TEXT)}")
    return prompt, decode


def _kept(path: Path, overlay: str, settings: list[str], work: Work) -> "Case":
    """A random case that a failed run left, or one's own."""
    from skipopu.hdl.cosim.overlay_seed import read_seed

    given: dict[str, Any] = {"--layers": work.layers, "--prompt": work.prompt, "--decode": work.decode}
    given |= {"--overlay": None if overlay == "tiny" else overlay, "--set": " ".join(settings) or None}
    for option, value in given.items():
        if value is not None:
            raise SpecError(f"--case {path}: says itself what {option} {value} would; leave one of them out")
    return read_seed(path).case()


def _show(r: "OverlayRun", waves: Path | None) -> None:
    how = "lock-step" if r.stall_seed is None else f"random stalls of seed {r.stall_seed}"
    say(f"overlay {r.overlay}, model {r.shape}, {how}: {r.steps} steps, {r.instructions} instructions")
    say(f"{r.cycles} cycles (simulator {r.model_cycles}); build {r.build_seconds:.0f} s, run {r.run_seconds:.0f} s")
    say(f"HBM {r.hbm_bytes} bytes, DDR4 {r.ddr_bytes} bytes; {r.decisions} decisions of routers")
    if r.differences:
        for kind in r.differences:
            say(f"first difference: {kind}")
        say(f"waveform: {waves / 'dump.fst'}" if waves else "for a waveform: the same command with --waves DIR")
        return
    if r.stall_seed is None:
        say(f"{r.instructions} instructions: issue, first and last cycle equal; causes of all blocks in every cycle")
        say("counters = the simulator's ledger")
    say(f"logits of {r.steps} steps = numerics, bit for bit; every byte of HBM and DDR4 = the functional machine")
    say("decisions = the trace; bytes moved = bytes accounted; every instruction retired once")
