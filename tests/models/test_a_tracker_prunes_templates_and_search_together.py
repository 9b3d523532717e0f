"""UTPTrack: an encoder that prunes as it goes = the whole encoder masked; nothing is kept from frame to frame."""

import numpy as np
import pytest
import torch

from skipopu.models.config import LlamaConfig
from skipopu.models.prescribed import Prescribed
from skipopu.models.row_reference import masked
from skipopu.models.utptrack import UTPTrack, export_utptrack, track
from skipopu.models.vision_tower import VisionTower
from skipopu.trace import EventKind, StepPhase, dense_like, keys_per_query
from skipopu.trace.families.utptrack import Knobs, make
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs

LAYERS, FRAME, PATCH = 5, 17, 6
KNOBS = Knobs(template=4, dynamic=4, filters=(1, 3), keep_share=0.6)
CONFIG = LlamaConfig(
    vocabulary=FRAME, hidden_size=16, intermediate_size=24, layers=LAYERS, attention_heads=2, kv_heads=2, head_dim=8
)


def tower() -> VisionTower:
    model, generator = VisionTower(CONFIG, PATCH).double().eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.dim() == 2:
                parameter.normal_(0.0, 0.4, generator=generator)
    return model


def patches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(count, FRAME, PATCH, generator=generator, dtype=torch.float64))


def test_pruning_as_it_goes_is_the_whole_encoder_masked() -> None:
    model, frames = tower(), patches(3)
    ours, run = track(model, UTPTrack(KNOBS, LAYERS, FRAME, 3), frames)
    for index, (states, frame) in enumerate(zip(ours, frames, strict=True)):
        alone = UTPTrack(KNOBS, LAYERS, FRAME)
        whole = masked(model.stack, alone, model.embed(frame))
        torch.testing.assert_close(states, whole, rtol=1e-10, atol=1e-10)
        rows = run.recorder.rows("q")[:, index * FRAME : (index + 1) * FRAME]
        assert rows.sum(axis=1).tolist() == [17, 17, 11, 11, 7]


def test_without_filters_it_is_the_vision_tower() -> None:
    model, frame = tower(), patches(1)[0]
    states, _ = track(model, UTPTrack(Knobs(4, 4, (), 1.0), LAYERS, FRAME), [frame])
    torch.testing.assert_close(states[0], model(frame)[-1].detach(), rtol=1e-10, atol=1e-10)


def test_the_template_s_centre_always_stays_and_ranks_the_others() -> None:
    trace = export_utptrack(tower(), patches(2), KNOBS, "a test")
    for event in trace.events:
        if event.kind is EventKind.PRUNE:
            assert event.step * FRAME + KNOBS.centre in event.kept
    kept = [event.kept for event in trace.events if event.kind is EventKind.PRUNE]
    assert set(kept[1]) <= set(kept[0])
    assert {token - FRAME for token in kept[2]} != set(kept[0])  # another frame, another choice


def test_a_trace_replays_to_the_same_states() -> None:
    model, frames = tower(), patches(2)
    trace = export_utptrack(model, frames, KNOBS, "a test")
    ours, run = track(model, UTPTrack(KNOBS, LAYERS, FRAME, 2), frames)
    again, replayed = track(model, Prescribed(trace), frames)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    assert np.array_equal(replayed.recorder.rows("ffn"), run.recorder.rows("ffn"))


def test_the_generator_differs_only_in_which_tokens_stay() -> None:
    ours = export_utptrack(tower(), patches(2), KNOBS, "a test")
    drawn = make(ours.header.shape, FRAME - 8, 1, 0, KNOBS)
    assert np.array_equal(ours.rows("q").sum(axis=1), drawn.rows("q").sum(axis=1))
    tell = lambda e: (e.kind, e.step, e.layer, e.op, e.rows, e.keys, e.k, len(e.kept))  # noqa: E731
    assert [tell(e) for e in ours.events] == [tell(e) for e in drawn.events]
    assert all(np.array_equal(ours.arrays[n], drawn.arrays[n]) for n in ("positions", "token_class", "kv_read_offsets"))


def test_a_frame_reads_no_other_frame_and_yields_no_logit() -> None:
    trace = generate("utptrack", prompt=256, decode=2)
    assert set(trace.steps.phase) == {StepPhase.ENCODE}
    assert keys_per_query(trace)[:, -1].tolist() == [384] * 4 + [270] * 3 + [190] * 3 + [134] * 2
    assert not [g for g in gemms(trace) if g.name == "lm_head"]


def test_tokens_and_compute_are_near_the_published_reduction() -> None:
    """Published −65.4 % tokens and −31 % MACs; OSTrack's filter layers, as UTPTrack's own are not known."""
    trace = generate("utptrack", prompt=256, decode=0)
    left = trace.rows("q")[-1].mean()
    assert 1 - left == pytest.approx(0.654, abs=0.005)
    saved = 1 - total_macs(gemms(trace)) / total_macs(gemms(dense_like(trace)))
    assert saved == pytest.approx(0.31, abs=0.015)
