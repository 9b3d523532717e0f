"""The overlay's RTL runs whole small models; what is wrong with model, memory or RTL shows as a difference."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.overlay import OverlayRun, cosimulate
from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl, Work
from skipopu.hdl.cosim.overlay_seed import Seed
from skipopu.program.context import Context
from skipopu.program.image import Image
from skipopu.program.image_memory import SparseMemory
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

pytestmark = pytest.mark.slow

MODELS = {
    "linear routers after attention": Seed(),
    "all routers at the layer's input": Seed(seed=1, ffn_input="layer_input", kv_policy="dense"),
    "hidden routers": Seed(seed=2, router="mlp", router_hidden=16),
    "no routers": Seed(seed=3, router="none", kv_policy="dense"),
    "biases, many heads, odd sizes": Seed(
        seed=4, qkv_bias=True, kv_heads=4, attention_heads=8, head_dim=20, hidden_size=40
    ),
    "a token, and one more": Seed(seed=5, prompt=1, decode=1),
    "several row blocks": Seed(seed=6, prompt=20, decode=4),
}


@cache
def rtl() -> OverlayRtl:
    return OverlayRtl(Overlay.load("tiny"))


@cache
def small() -> Case:
    return Seed(layers=1, prompt=3, decode=1).case()


def kinds(found: OverlayRun) -> set[str]:
    return {each.kind for each in found.differences}


@pytest.mark.parametrize("seed", MODELS.values(), ids=MODELS)
def test_in_lock_step(seed: Seed) -> None:
    found = cosimulate(seed.case(), rtl=rtl())
    assert found.differences == ()
    assert found.cycles == found.model_cycles
    assert found.steps == 1 + seed.decode


@pytest.mark.parametrize("stall_seed", range(4))
def test_stalls_change_no_value(stall_seed: int) -> None:
    found = cosimulate(Seed().case(), rtl=rtl(), stall_seed=stall_seed)
    assert found.differences == ()
    assert found.cycles > found.model_cycles


@pytest.mark.parametrize("setting", [
    "pe_array.tree_stages=3", "npe.function_stages=19", "global_buffer.read_stages=3", "dma.crossing_stages=4",
    "sequencer.dispatch_stages=3", "sequencer.queue_depth=3", "dma.ddr_read_bursts=1", "dma.weight_chunks=12",
])  # fmt: skip
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    """The model of one overlay beside the RTL of another: the first cycle is named, values are equal all the same."""
    found = cosimulate(replace(small(), overlay=Overlay.load("tiny", (setting,))), rtl=rtl())
    assert kinds(found) == {"cause", "instruction", "counter"}
    assert found.difference is not None
    assert found.difference.cycle is not None


class Tampered(OverlayRtl):
    """The same hardware with another image, or with a record that is spoilt afterwards."""

    def __init__(self, image: Callable[[Image], None] = id, record: Callable[[Arrays], object] = id) -> None:
        self.__dict__ |= rtl().__dict__
        self._image, self._record = image, record

    def run(self, image: Image, c: Context, board: Board, work: Work, stall_seed: int | None = None) -> Arrays:
        other = image.copy()
        self._image(other)
        found = super().run(other, c, board, work, stall_seed)
        self._record(found)
        return found


def flip(memory: SparseMemory, address: int) -> None:
    memory.write(address, memory.read(address, 1) ^ np.uint8(1))


def test_a_flipped_bit_of_a_weight_changes_the_logits() -> None:
    first = small().program.context.memory.matrices[-1, "lm_head"].offset
    assert "logits" in kinds(cosimulate(small(), rtl=Tampered(lambda image: flip(image.hbm[0], first))))


def test_a_flipped_bit_of_an_embedding_is_seen_in_memory() -> None:
    first = small().program.context.memory.ddr["prompt"] // 2
    found = cosimulate(small(), rtl=Tampered(lambda image: flip(image.ddr.channels[0], first)))
    assert {"HBM contents", "DDR4 contents"} <= kinds(found)


SPOILT: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "a cause": (lambda a: a["causes"].__setitem__(100, a["causes"][100] ^ 1), "cause"),
    "a retirement is lost": (lambda a: a.__setitem__("retired", a["retired"][1:]), "instruction"),
    "a counter": (lambda a: a["registers"].__setitem__(10, a["registers"][10] + 1), "counter"),
    "a decision": (lambda a: a["routed"].__setitem__((0, 1), a["routed"][0, 1] ^ 3), "routing"),
    "a logit": (lambda a: a["logit_beats"].__setitem__((0, 0), a["logit_beats"][0, 0] ^ np.uint64(1)), "logits"),
    "K or V": (lambda a: a["hbm_beats"].__setitem__((3, 1), a["hbm_beats"][3, 1] ^ np.uint64(1)), "HBM contents"),
    "a byte of DDR4": (lambda a: a["ddr_contents"].__setitem__((1, 5, 2), 12345), "DDR4 contents"),
    "a burst": (lambda a: a.__setitem__("hbm_events", a["hbm_events"][1:]), "bytes"),
    "a rule of AXI": (lambda a: a["hbm_broken"].__setitem__(slice(None), (1, 0, 9)), "AXI"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_record_is_found_out(name: str) -> None:
    spoil, kind = SPOILT[name]
    assert kind in kinds(cosimulate(small(), rtl=Tampered(record=spoil)))
