"""The prompt of a LLaVA checkpoint: text around one image, whose place the text marks with the image token."""

from collections.abc import Sequence
from pathlib import Path

from skipopu.models.export import Image
from skipopu.models.llava_checkpoint import LlavaVision, read_image
from skipopu.spec.error import SpecError


def with_image(ids: Sequence[int], vision: LlavaVision | None, file: Path | None) -> tuple[list[int], Image | None]:
    """Return ``ids`` with the image token once for every visual embedding, and these embeddings.

    In ``ids``, and so in what --prompt counts, the image is one token.

    Without a ``file`` the text is all there is. Raises SpecError where model, text and image do not go together.
    """
    places = [i for i, token in enumerate(ids) if vision is not None and token == vision.image_token]
    if file is None:
        if places:
            raise SpecError("the text has an image token; give --image FILE.npy, or take the token out")
        return list(ids), None
    if vision is None:
        raise SpecError(f"--image {file}: the checkpoint has no vision tower; expected a LLaVA checkpoint")
    if len(places) != 1:
        raise SpecError(
            f"--image {file}: the prompt has {len(places)} image tokens (id {vision.image_token}); put one, usually"
            " <image>, where the image stands, within --prompt tokens"
        )
    states, first = vision(read_image(file, vision.tower.config)), places[0]
    return [*ids[:first], *[vision.image_token] * len(states), *ids[first + 1 :]], Image(first, states)
