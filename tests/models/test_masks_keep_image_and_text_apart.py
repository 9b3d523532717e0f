"""Mask classes between image and text, on weights small enough to write down."""

import torch

from skipopu.models.row_masks import Masks
from skipopu.trace import MaskClass, Segment

SEGMENTS = (Segment("system", 0, 1), Segment("visual", 1, 2), Segment("text", 3, 2))
EVERY = torch.arange(5)


def masks(kind: MaskClass) -> Masks:
    return Masks.of(SEGMENTS, 5, (int(kind),))


def weights() -> torch.Tensor:
    """One head: row by row 0.1, 0.2, 0.3, 0.4, 0.5 of each key seen; not normalised, so that each place shows."""
    return torch.tril(torch.arange(1.0, 6.0).repeat(5, 1) / 10)[None]


def test_a_merged_sink_carries_the_mass_of_the_image() -> None:
    out = masks(MaskClass.MERGED_SINK).reweigh(0, weights(), EVERY, EVERY)[0]
    torch.testing.assert_close(out[4], torch.tensor([0.1, 0.5, 0.0, 0.4, 0.5]))
    torch.testing.assert_close(out[3], torch.tensor([0.1, 0.5, 0.0, 0.4, 0.0]))
    torch.testing.assert_close(out[2], torch.tensor([0.1, 0.0, 0.0, 0.0, 0.0]))  # visual queries see no visual key


def test_no_attention_to_the_image_leaves_the_rest_as_it_was() -> None:
    out = masks(MaskClass.NONE).reweigh(0, weights(), EVERY, EVERY)[0]
    torch.testing.assert_close(out[4], torch.tensor([0.1, 0.0, 0.0, 0.4, 0.5]))
    torch.testing.assert_close(out[1], torch.tensor([0.1, 0.0, 0.0, 0.0, 0.0]))


def test_other_classes_change_no_weight() -> None:
    for kind in (MaskClass.CAUSAL, MaskClass.TEXT_TO_VISUAL, MaskClass.BAND):
        assert torch.equal(masks(kind).reweigh(0, weights(), EVERY, EVERY), weights())


def test_outside_the_band_each_segment_sees_itself() -> None:
    seen = masks(MaskClass.BAND).visible(0, EVERY, EVERY)
    assert seen.int().tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]


def test_an_encoder_sees_later_tokens_too() -> None:
    assert Masks.of((), 3, (0,), both=True).visible(0, EVERY[:3], EVERY[:3]).all()
