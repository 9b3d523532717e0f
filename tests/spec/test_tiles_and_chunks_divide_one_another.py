"""Tiles of K and V are made of whole chunks, or chunks of whole tiles, whatever the overlay and the head."""

from hypothesis import given
from hypothesis import strategies as st

from skipopu.spec.ker_shape import ker_shape
from skipopu.spec.overlay import Overlay

OVERLAYS = st.builds(
    lambda columns, dot, ratio, heads: Overlay.load("tiny", (
        f"pe_array.columns={4 * columns}", f"pe_array.dot_length={dot}", f"clock.hbm_ratio={ratio}",
        f"dataflow.packed_heads={heads}",
    )),
    st.integers(1, 64), st.sampled_from([16, 32, 64, 128]), st.sampled_from([1, 2, 4, 8]), st.integers(1, 2),
)  # fmt: skip


@given(overlay=OVERLAYS, head_dim=st.integers(1, 256))
def test_a_tile_of_v_is_the_widest_that_fits(overlay: Overlay, head_dim: int) -> None:
    """Its pieces begin where those of any other head do: the array needs to know no more than its width."""
    head, chunk, shape = overlay.head_storage(head_dim), overlay.chunk_bytes // 2, ker_shape(overlay)
    found = overlay.value_columns(head)

    def fits(width: int) -> bool:
        return head % width == 0 and (width % chunk == 0 or chunk % width == 0)

    assert found == max(width for width in range(1, min(head, overlay.pe_array.columns) + 1) if fits(width))
    assert found % shape.value_part == 0
    assert found // shape.value_part <= shape.value_pieces
    assert shape.value_segments * shape.value_part == chunk
    assert found == shape.value_part or shape.value_segments == 1


@given(overlay=OVERLAYS)
def test_a_tile_of_k_divides_chunks_or_is_made_of_them(overlay: Overlay) -> None:
    shape = ker_shape(overlay)
    assert shape.key_pieces * shape.chunk == shape.key_segments * shape.key
    assert 1 in (shape.key_pieces, shape.key_segments)
