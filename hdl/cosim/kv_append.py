"""Co-simulation of KV append: RTL = simulator in every cycle, and every byte where it must lie in HBM."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.kv_append_events import ADDRESS, CHUNKS, COLUMNS, LAST, READY, STREAMS
from skipopu.hdl.cosim.kv_append_image import different_image
from skipopu.hdl.cosim.kv_append_model import Simulated, simulate
from skipopu.hdl.cosim.kv_append_stimulus import Append, Program, programs
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.dma import routed_write_layout
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.kv_append import KvAppend
from skipopu.hdl.kv_append_layout import AppendShape, append_shape
from skipopu.program.isa import ADDRESS_UNIT, Opcode
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.kv_append_bench"


@dataclass(frozen=True)
class KvAppendRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    operations: int
    rows: int  # that executed
    skipped: int  # operations without a row
    tiles: int
    bursts: int
    cut: int  # of them, before a 4 KiB boundary and shorter than a burst can be
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, bursts: int, seed: int, *, rtl: Overlay | None = None, waves: Path | None = None
) -> KvAppendRun:
    """Append random rows, at least ``bursts`` AXI bursts, with random grants and stalls, in RTL and simulator.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    block = KvAppend(overlay=rtl or overlay)
    testbench = Testbench(Shell(block=block), BENCH, waves=waves)
    rng, shape = np.random.default_rng(seed), append_shape(overlay)
    stalls = patterns(rng, STREAMS)
    model = simulate(overlay, programs(shape, overlay.dataflow.row_block, rng), stalls, bursts)
    tiles = rng.integers(256, size=(shape.tiles, shape.tile_bytes), dtype=np.uint8)
    found = testbench.outputs(_inputs(overlay, shape, block, model, tiles))
    difference = first_difference("cycle", model.trace, found["trace"], COLUMNS)
    difference = difference or different_image(shape, model.work, tiles, found["trace"], model.drives, found["chunks"])
    return _summary(overlay, shape, model, (testbench.build_seconds, testbench.run_seconds), difference)


def _inputs(overlay: Overlay, shape: AppendShape, block: KvAppend, model: Simulated, tiles: NDArray[Any]) -> Arrays:
    most = max(len(each.bits) for _, each in model.work)
    bits = [np.pad(each.bits, (0, most - len(each.bits))).astype(np.int64) for _, each in model.work]
    # what the ffn's bit is does not matter
    bits = [row | np.arange(most) % 2 << 1 for row in bits]
    heads = [_instruction(*each) for each in model.work]
    return {
        "expected": model.trace, "drives": model.drives, "begins": np.array(model.begins), "heads": np.array(heads),
        "executed": np.array([each.rows.sum() for _, each in model.work]), "bits": np.array(bits), "tiles": tiles,
        "read_stages": np.array(shape.read_stages), "chunk_bytes": np.array(shape.kv.chunk_bytes),
        "flags_in": np.array(flag_names(block, In)), "flags_out": np.array(flag_names(block, Out)), **_payload(overlay),
    }  # fmt: skip


def _instruction(program: Program, each: Append) -> NDArray[np.uint8]:
    fields = {
        "opcode": Opcode.APPEND_KV, "gate": each.gate, "mask": each.mask, "value": int(each.value),
        "rows": len(each.bits), "k_tiles": program.tiles, "columns": program.head_tiles, "source": each.source,
        "address": program.address(each.layer, each.value) // ADDRESS_UNIT, "layer": each.layer,
        "tokens": each.first + len(each.bits),
    }  # fmt: skip
    word = INSTRUCTION.const(fields).as_bits()
    return np.frombuffer(int(word).to_bytes(INSTRUCTION.size // 8, "little"), np.uint8)


def _payload(overlay: Overlay) -> Arrays:
    """Fields of the write stream's payload."""
    whole = routed_write_layout(overlay.dma.hbm_ports, overlay.clock.hbm_ratio)
    chunk = whole["chunk"].shape
    burst = chunk["burst"].shape
    found = {
        "port": whole["port"], "data": chunk["data"], "last": chunk["last"],
        "address": burst["address"], "chunks": burst["chunks"],
    }  # fmt: skip
    base = {"port": 0, "data": 0, "last": 0} | dict.fromkeys(("address", "chunks"), chunk["burst"].offset)
    return {
        "layout_names": np.array(list(found)), "layout_widths": np.array([each.width for each in found.values()]),
        "layout_offsets": np.array([base[name] + each.offset for name, each in found.items()]),
    }  # fmt: skip


def _summary(
    overlay: Overlay, shape: AppendShape, model: Simulated, seconds: tuple[float, float], difference: Difference | None
) -> KvAppendRun:
    ends = model.trace[(model.trace[:, LAST] == 1) & (model.drives & READY != 0)]
    after = ends[:, ADDRESS] + ends[:, CHUNKS]
    counts = np.array([each.rows.sum() for _, each in model.work])
    tiles = sum(int(count) * program.tiles for count, (program, _) in zip(counts, model.work, strict=True))
    cut = int(((after % shape.kv.boundary_chunks == 0) & (ends[:, CHUNKS] < shape.kv.burst_chunks)).sum())
    return KvAppendRun(
        overlay.name, len(model.work), int(counts.sum()), int((counts == 0).sum()), tiles, len(ends), cut,
        len(model.trace), *seconds, difference,
    )  # fmt: skip
