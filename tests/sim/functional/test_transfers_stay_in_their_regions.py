"""With real loop bounds no transfer leaves the tensor it begins in, and no K/V vector its layer's place."""

from itertools import pairwise
from typing import Any

import pytest
from small_models import Case, made

from skipopu.program.image import build_image
from skipopu.program.image_memory import SparseMemory, StripedMemory
from skipopu.sim.functional.machine import run

CASES = {
    "fused": Case(),
    "row_wise": Case(("dataflow.fused=false", "dataflow.packed_heads=1")),
    "many_ports": Case(("dma.hbm_ports=8",)),
    "padded": Case(dimensions=(("attention_heads", 8), ("kv_heads", 4), ("head_dim", 20), ("hidden_size", 72))),
}


@pytest.mark.parametrize("name", CASES)
def test_no_transfer_leaves_its_region(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(CASES[name])
    image, memory = build_image(found.program, found.parameters), found.program.context.memory
    ddr: list[tuple[int, int]] = []
    hbm: list[tuple[int, int]] = []
    channels: set[int] = set()

    def watched(kind: type[Any], method: str, size: Any) -> None:
        plain = getattr(kind, method)

        def moving(self: Any, address: int, what: Any) -> Any:
            if kind is StripedMemory:
                channels.update(map(id, self.channels))
                ddr.append((address, size(what)))
            elif id(self) not in channels:
                hbm.append((address, size(what)))
            return plain(self, address, what)

        monkeypatch.setattr(kind, method, moving)

    for kind in (StripedMemory, SparseMemory):
        watched(kind, "read", int)
        watched(kind, "write", len)
    run(found.program, image)
    layers = range(found.program.context.shape.dimensions.layers)
    parts = [part.offset for matrix in memory.matrices.values() for part in matrix.parts]
    vectors = [memory.kv_address(layer, value) for layer in layers for value in (0, 1)]
    end = memory.kv_address(len(layers), 0)
    inside(ddr, [*memory.ddr.values(), 2**40])
    inside(hbm, [*parts, *vectors, end])
    assert len(ddr) > 300
    assert len(hbm) > 100


def inside(moved: list[tuple[int, int]], starts: list[int]) -> None:
    for first, size in moved:
        assert any(a <= first and first + size <= b for a, b in pairwise(sorted(starts))), (first, size)
