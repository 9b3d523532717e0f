"""`skipopu families`: what is known of every family of dynamic computation, and its knobs."""

import json as text_format
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipopu.cli.terminal import columns, say

if TYPE_CHECKING:
    from skipopu.trace.family import Family

Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON and nothing else.")]
Name = Annotated[str | None, typer.Argument(metavar="[FAMILY]", help="One of them, with its knobs.")]


def families(name: Name = None, json: Json = False) -> None:
    """List the families that `skipopu trace` knows: source, what they cut, knobs, published results."""
    from skipopu.trace.family import families as names
    from skipopu.trace.family import family

    found = [family(each) for each in ((name,) if name else names())]
    if json:
        text_format.dump([_table(each) for each in found], sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
    elif name:
        _show(found[0])
    else:
        _list(found)


def _list(found: "list[Family]") -> None:
    rows = [(f.name, f.title, f.cuts, f.shape) for f in found]
    say(columns([("family", "", "cuts", "shape"), *rows]))
    say("\nsource, knobs and published results: skipopu families FAMILY, or --json for all")


def _show(found: "Family") -> None:
    say(f"{found.name}: {found.title}")
    say(f"source: {found.source}")
    say(f"cuts: {found.cuts}; shape: {found.shape}")
    say(f"published ({found.confidence}): {found.published}\n")
    rows = [(k, _value(v["value"]), v["unit"], v["confidence"], v["source"]) for k, v in found.knobs.items()]
    say(columns([("knob", "default", "unit", "", "from"), *rows]))


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _table(found: "Family") -> dict[str, Any]:
    return {key: value for key, value in vars(found).items() if key != "preset"}
