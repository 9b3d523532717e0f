"""`skipopu trace`: make a trace, synthetic or of a real model on real text."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipopu.cli.target import check_file
from skipopu.cli.terminal import say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.trace import Trace

SHIPPED, SHIPPED_NAME = "shipped", "skipgpt-bytes"
SKIPS = {
    "attention": "attention_skip",
    "FFN": "ffn_skip",
    "weights": "parameter_skip",
    "multiplications": "mac_skip",
    "K/V bytes": "kv_byte_skip",
}
FamilyName = Annotated[str | None, typer.Argument(metavar="FAMILY", help="e.g. skipgpt; `skipopu families` lists all.")]
Shape = Annotated[str | None, typer.Option(help="A shipped model shape or a .toml file.", show_default="the family's")]
ShapeSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the shape, e.g. layers=2.")
]
Prefix = Annotated[int | None, typer.Option(help="Tokens in the K/V cache before the first.", show_default="0")]
Skip = Annotated[float | None, typer.Option(help="Mean skip rate.", show_default="the family's")]
Seed = Annotated[int | None, typer.Option(help="Of the routing decisions.", show_default="0")]
Knob = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the generator; repeatable.")]
Checkpoint = Annotated[str | None, typer.Option(metavar="DIR", help=f"A local model, or {SHIPPED!r}.")]
Text = Annotated[Path | None, typer.Option(metavar="FILE", help="What the checkpoint reads.")]
ImageFile = Annotated[Path | None, typer.Option("--image", metavar="FILE", help="Pixels (.npy) for LLaVA.")]
Routers = Annotated[Path | None, typer.Option(metavar="FILE", help="Routers for a Hugging Face checkpoint.")]
GumbelSeed = Annotated[int | None, typer.Option(help="Sample the routers instead of taking the argmax.")]


def trace(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="T", help="The trace file.")],
    family: FamilyName = None,
    shape: Shape = None,
    settings: ShapeSettings = None,
    prompt: Annotated[int, typer.Option(help="Tokens prefilled.")] = 128,
    decode: Annotated[int, typer.Option(help="Tokens decoded.")] = 1024,
    prefix: Prefix = None,
    skip: Skip = None,
    seed: Seed = None,
    knob: Knob = None,
    checkpoint: Checkpoint = None,
    text: Text = None,
    image: ImageFile = None,
    routers: Routers = None,
    gumbel_seed: GumbelSeed = None,
) -> None:
    """Make a routing trace.

    Of a FAMILY with synthetic routing, or of a --checkpoint that reads a --text, with --image a text and an image.
    """
    from skipopu.spec.model_shape import ModelShape
    from skipopu.trace import write_trace
    from skipopu.trace.family import family as known
    from skipopu.trace.family import generate
    from skipopu.trace.prefix import with_prefix

    generator = {
        "--shape": shape, "--set": settings, "--prefix": prefix, "--skip": skip, "--seed": seed, "--knob": knob,
    }  # fmt: skip
    model = {"--text": text, "--image": image, "--routers": routers, "--gumbel-seed": gumbel_seed}
    if (family is None) == (checkpoint is None):
        raise SpecError("give either a FAMILY, e.g. skipgpt, or --checkpoint DIR --text FILE")
    check_file(out)
    if family is not None:
        _refuse(model, "--checkpoint")
        model_shape = ModelShape.load(shape or known(family).shape, tuple(settings or ()))
        made = with_prefix(generate(family, model_shape, prompt, decode, skip, seed or 0, knob or ()), prefix or 0)
    elif checkpoint is not None:
        _refuse(generator, "a FAMILY")
        made = _exported(checkpoint, text, image, routers, gumbel_seed, prompt, decode)
    write_trace(made, out)
    _describe(made, out)


def _refuse(given: Mapping[str, object], owner: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise SpecError(f"{name} {value}: goes with {owner}; leave it out")


def _exported(
    name: str,
    text: Path | None,
    image: Path | None,
    routers: Path | None,
    gumbel_seed: int | None,
    prompt: int,
    decode: int,
) -> "Trace":
    if text is None:
        raise SpecError(f"--checkpoint {name}: needs --text FILE to read")
    words = _words(text)
    try:
        from skipopu.models.checkpoint import open_checkpoint
        from skipopu.models.export import export_trace
        from skipopu.models.llava_prompt import with_image
    except ModuleNotFoundError as error:
        raise SpecError(f"--checkpoint needs {error.name}; pip install 'skipopu[models]'") from None
    opened = open_checkpoint(SHIPPED_NAME if name == SHIPPED else name, routers=routers)
    ids = opened.encode(words)
    if not 1 <= prompt <= len(ids):
        raise SpecError(f"--prompt {prompt}: {text} has {len(ids)} tokens; must be in 1..{len(ids)}")
    shown, seen = with_image(ids[:prompt], opened.vision, image)
    return export_trace(
        opened.model,
        shown,
        decode,
        name=opened.name,
        source=", ".join([f"checkpoint {opened.name}, text {text.name}", *([f"image {image.name}"] if image else [])]),
        provenance=opened.provenance,
        gumbel_seed=gumbel_seed,
        image=seen,
    )


def _words(text: Path) -> str:
    try:
        return text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SpecError(f"--text {text}: {reason}; give a readable UTF-8 text file") from None


def _describe(made: "Trace", out: Path) -> None:
    facts, header = made.summary(), made.header
    tokens = f"{facts['prompt_tokens']} prompt + {facts['decode_tokens']} decode tokens"
    say(f"{header.family} {header.shape.name}, {made.layers} layers, {tokens}, K/V {header.kv_policy}")
    say("skipped: " + ", ".join(f"{name} {facts[key]:.1%}" for name, key in SKIPS.items()))
    say(f"trace: {out} ({out.stat().st_size / 1e3:,.0f} kB, sha256 {made.sha256[:16]})")
