"""Made-up runs whose numbers agree with one another, so that results can be tested without a simulator."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from skipopu.program.isa import Opcode
from skipopu.results.result import Result
from skipopu.sim.run import KvCount, Retired, Run
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block, Cause, NpeWork, Part, Phase, Traffic
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import DDR_BEAT_BYTES, HBM_BEAT_BYTES, Overlay
from skipopu.trace import Header, Provenance, Router, StepPhase, Steps, Trace, make_trace

ORDER = (  # the instructions of one layer: engine, opcode, begin and length as shares of the layer's time
    (Block.LOAD, Opcode.LOAD_ROWS, 0.0, 0.1),
    (Block.DMA, Opcode.LOAD_WEIGHTS, 0.0, 0.4),
    (Block.PE_ARRAY, Opcode.ROUTE, 0.05, 0.05),
    (Block.PE_ARRAY, Opcode.MATMUL, 0.12, 0.3),
    (Block.KV_APPEND, Opcode.APPEND_KV, 0.42, 0.03),
    (Block.KV_BUFFER, Opcode.READ_KV, 0.43, 0.2),
    (Block.DMA, Opcode.LOAD_WEIGHTS, 0.45, 0.5),
    (Block.PE_ARRAY, Opcode.SCORES, 0.45, 0.1),
    (Block.PE_ARRAY, Opcode.CONTEXT, 0.57, 0.08),
    (Block.PE_ARRAY, Opcode.MATMUL, 0.66, 0.33),
)


@dataclass(frozen=True)
class Case:
    """The inputs of a result."""

    run: Run
    trace: Trace
    overlay: Overlay
    board: Board

    def result(self) -> Result:
        return Result.of(self.run, self.trace, self.overlay, self.board)

    def with_run(self, **changes) -> "Case":
        return dataclasses.replace(self, run=dataclasses.replace(self.run, **changes))


def tiny_shape() -> ModelShape:
    return ModelShape.from_values(
        "made-up", "tests", layers=4, hidden_size=64, intermediate_size=128, attention_heads=4, kv_heads=2,
        head_dim=16, vocabulary=256, tied_embeddings=True, qkv_bias=False, qk_norm=False,
    )  # fmt: skip


def make_skipping(shape: ModelShape, prompt: int, decode: int, skip: float, seed: int) -> Trace:
    """A skipgpt trace with rows drawn at random, attention of layer 0 always on."""
    rng = np.random.default_rng(seed)
    size = (shape.dimensions.layers, prompt + decode)
    q, ffn = rng.random(size) >= skip, rng.random(size) >= skip
    q[0] = True
    router = Router(kind="linear", always_on_attention=(0,)) if skip else Router()
    header = Header(
        "skipgpt" if skip else "dense", shape, router, "reuse_last" if skip else "dense",
        Provenance("synthetic", seed=seed, source="drawn by a test"),
    )  # fmt: skip
    steps = Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode)
    return make_trace(header, steps, q=q, kv=q, ffn=ffn)


def make_run(trace: Trace, overlay: Overlay, layer_cycles: tuple[int, int], seed: int) -> Run:
    """A run of ``trace`` with about ``layer_cycles`` core cycles a layer in prefill and in decode."""
    rng = np.random.default_rng(seed)
    retired, step_end = _retired(trace, layer_cycles)
    decode_steps = np.flatnonzero(trace.steps.decoding())
    prefill = int(step_end[decode_steps[0] - 1]) if decode_steps.size else int(step_end[-1])
    cycles = np.array([prefill, int(step_end[-1]) - prefill])
    entries, entry = trace.rows("kv").sum(axis=0), _entry_bytes(trace, overlay)
    prompt = trace.tokens - decode_steps.size
    stored = [int(part.sum()) * entry for part in (entries[:prompt], entries[prompt:])]
    traffic = _traffic(cycles, overlay, stored, rng)
    window = max(64, int(cycles.sum()) // 3000)
    kv_read = int(traffic[Phase.DECODE, Traffic.KV_READ])
    streaming = -(-kv_read * 10 // (overlay.hbm_bytes_per_cycle * 9))  # at 90 % of the ports' peak
    ledger = _ledger(retired, trace, cycles, rng)
    parts = np.repeat(ledger[:, Block.PE_ARRAY, None] // len(Part), len(Part), axis=1)
    parts[:, Part.OUTSIDE] += ledger[:, Block.PE_ARRAY] % len(Part)
    return Run(
        engine="reference",
        core_cycles=int(cycles.sum()),
        prefill_cycles=prefill,
        ledger=ledger,
        parts=parts,
        traffic=traffic,
        asked=traffic.copy(),
        window_cycles=window,
        windows=_windows(traffic, cycles, window, rng),
        step_end=step_end,
        retired=retired,
        kv=KvCount(sum(stored), trace.rows("kv").size * entry, kv_read, kv_read // 5, streaming, 100),
        semaphores=np.zeros(36, np.int64),
        npe=np.zeros(len(NpeWork), np.int64),
        macs=(cycles * overlay.peak_macs_per_cycle * [0.71, 0.093]).astype(np.int64),
        dram=_dram(traffic),
    )


def _entry_bytes(trace: Trace, overlay: Overlay) -> int:
    d = trace.header.shape.dimensions
    return 4 * d.kv_heads * overlay.head_storage(d.head_dim)


def _retired(trace: Trace, layer_cycles: tuple[int, int]) -> tuple[Retired, np.ndarray]:
    rows, clock, ends = [], 0, []
    for step, decoding in enumerate(trace.steps.decoding()):
        for layer in range(trace.layers):
            span = int(layer_cycles[int(decoding)] * (0.6 + 0.4 * trace.rows("q")[layer].mean()))
            for engine, opcode, begin, length in ORDER:
                first = clock + int(begin * span)
                rows.append(
                    (
                        engine,
                        opcode,
                        step,
                        layer,
                        max(clock, first - 5),
                        first,
                        first + int(length * span) - 1,
                    )
                )
            clock += span
        ends.append(clock)
    rows.append((Block.SEQUENCER, Opcode.HALT, len(ends) - 1, -1, clock - 2, clock - 1, clock - 1))
    return Retired(*np.array(rows, np.int64).T), np.array(ends, np.int64)


def _traffic(cycles: np.ndarray, overlay: Overlay, stored: list[int], rng: np.random.Generator) -> np.ndarray:
    hbm, ddr = cycles * overlay.hbm_bytes_per_cycle, cycles * overlay.ddr_bytes_per_cycle
    traffic = np.zeros((len(Phase), len(Traffic)), np.int64)
    traffic[:, Traffic.WEIGHTS] = hbm * [0.2, 0.72]
    traffic[:, Traffic.KV_READ] = hbm * [0.01, 0.09]
    traffic[:, Traffic.KV_WRITE] = stored
    for kind in Traffic:
        if not kind.is_hbm:
            traffic[:, kind] = ddr * rng.uniform(0.02, 0.18, len(Phase))
    return traffic // DDR_BEAT_BYTES * DDR_BEAT_BYTES  # whole beats of either memory


def _dram(traffic: np.ndarray) -> dict[str, dict[str, int]]:
    """Counters of the memories; only the beats have to agree with the traffic."""
    found = {}
    for name, size in (("hbm", HBM_BEAT_BYTES), ("ddr", DDR_BEAT_BYTES)):
        kinds = [kind for kind in Traffic if kind.is_hbm == (name == "hbm")]
        moved = {kind: int(traffic[:, kind].sum()) // size for kind in kinds}
        found[name] = {
            "row_hits": 900, "row_misses": 80, "row_closed": 7, "refreshes": 3,
            "read_beats": sum(n for kind, n in moved.items() if not kind.is_write),
            "write_beats": sum(n for kind, n in moved.items() if kind.is_write),
        }  # fmt: skip
    return found


def _ledger(retired: Retired, trace: Trace, cycles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ledger = np.zeros((len(Phase), len(Block), len(Cause)), np.int64)
    phase = trace.steps.decoding()[retired.step].astype(int)
    np.add.at(ledger[:, :, Cause.BUSY], (phase, retired.engine), retired.last - retired.first + 1)
    ledger[:, Block.NPE, Cause.BUSY] = ledger[:, Block.PE_ARRAY, Cause.BUSY] // 3
    for part, total in zip(ledger, cycles, strict=True):
        for block in Block:
            waits = rng.multinomial(
                total - part[block, Cause.BUSY], rng.dirichlet(np.full(len(Cause) - 1, 0.4))
            )
            part[block, Cause.WEIGHTS :] = waits
    return ledger


def _windows(traffic: np.ndarray, cycles: np.ndarray, window: int, rng: np.random.Generator) -> np.ndarray:
    count = -(-int(cycles.sum()) // window)
    begin = np.arange(count) * window
    windows = np.zeros((count, len(Traffic)), np.int64)
    for phase in Phase:
        mine = (
            np.flatnonzero((begin >= cycles[0]) == (phase == Phase.DECODE))
            if cycles[phase]
            else np.array([], int)
        )
        for kind in Traffic:
            if mine.size:
                share = rng.uniform(0.7, 1.0, mine.size) * np.minimum(window, int(cycles.sum()) - begin[mine])
                windows[mine, kind] += rng.multinomial(traffic[phase, kind], share / share.sum())
    return windows


@pytest.fixture(scope="session")
def overlay() -> Overlay:
    return Overlay.load("tiny")


@pytest.fixture(scope="session")
def board() -> Board:
    return Board.load("u280")


@pytest.fixture(scope="session")
def make_case(overlay: Overlay, board: Board):
    """Return a function that makes the inputs of a small result."""

    def make(skip: float = 0.3, decode: int = 4, seed: int = 1, prompt: int = 8) -> Case:
        trace = make_skipping(tiny_shape(), prompt, decode, skip, seed)
        return Case(make_run(trace, overlay, (9000, 2000), seed), trace, overlay, board)

    return make


@pytest.fixture(scope="session")
def case(make_case) -> Case:
    return make_case()


@pytest.fixture(scope="session")
def dense(make_case) -> Case:
    return make_case(skip=0.0)
