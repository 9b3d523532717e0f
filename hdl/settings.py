"""Settings: what the host writes once for a model, before the program begins."""

from amaranth.lib import data

from skipopu.hdl.kv_layout import KvShape, settings_layout
from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.result_operation import rotary_depth
from skipopu.spec.overlay import Overlay


def model_settings(overlay: Overlay, shape: KvShape) -> data.StructLayout:
    """Return the layout; steady while a program runs."""
    return data.StructLayout({
        "share": FP32.bits, "epsilon": FP32.bits,  # 1/D and ε of the norms
        "score_scale": FP32.bits,  # 1/√d
        "rotary_words": range(rotary_depth(overlay) + 1),  # words of a head in the ROT buffer
        "rotary_stride": range(rotary_depth(overlay) + 1),  # from a row of the block to the next there
        "kv": settings_layout(shape),
    })  # fmt: skip
