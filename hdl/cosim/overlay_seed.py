"""A random small model and an overlay, as a few numbers that one can keep, print and run again."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skipopu.hdl.cosim.overlay_case import Case, decided_case
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Header, Provenance, Router

SOURCE = "random numbers of a seed"
BOARD = "u280"


@dataclass(frozen=True)
class Seed:
    """All that a random case follows from."""

    seed: int = 0
    overlay: str = "tiny"
    settings: tuple[str, ...] = ()
    layers: int = 2
    hidden_size: int = 32
    intermediate_size: int = 48
    attention_heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    vocabulary: int = 40
    qkv_bias: bool = False
    router: str = "linear"
    router_hidden: int = 0
    ffn_input: str = "post_attention"
    kv_policy: str = "reuse_last"
    prompt: int = 6
    decode: int = 2

    def shape(self) -> ModelShape:
        """The model's dimensions."""
        sizes = "layers hidden_size intermediate_size attention_heads kv_heads head_dim vocabulary qkv_bias"
        flags = {"tied_embeddings": False, "qk_norm": False}
        return ModelShape.from_values("random", SOURCE, **{key: getattr(self, key) for key in sizes.split()}, **flags)

    def case(self) -> Case:
        """Draw the numbers, let the routers decide, compile."""
        overlay, tokens = Overlay.load(self.overlay, self.settings), self.prompt + self.decode
        router = self._router()
        header = Header(
            family="skipgpt" if self.router != "none" else "dense", shape=self.shape(), router=router,
            kv_policy=self.kv_policy, provenance=Provenance(kind="synthetic", seed=self.seed, source=SOURCE),
        )  # fmt: skip
        types = overlay.datatypes
        parameters = random_parameters(header.shape, router, tokens, self.seed, types.weights, types.lm_head)
        prompt = np.random.default_rng(self.seed).integers(self.vocabulary, size=self.prompt).tolist()
        return decided_case(parameters, header, prompt, self.decode, overlay, Board.load(BOARD))

    def _router(self) -> Router:
        """With K/V of an earlier layer to reuse there must be one: layer 0 executes."""
        always = (0,) if self.router != "none" and self.kv_policy == "reuse_last" else ()
        return Router(kind=self.router, hidden=self.router_hidden, ffn_input=self.ffn_input, always_on_attention=always)

    def write(self, path: Path) -> None:
        """Keep the seed as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_seed(path: Path) -> Seed:
    """Read what `Seed.write` wrote; SpecError for anything else."""
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return Seed(**{**values, "settings": tuple(values["settings"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpecError(f"{path}: no seed of a random case ({error}); give a file that a failed run left") from None
