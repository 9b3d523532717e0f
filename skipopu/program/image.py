"""Image: what the host puts into DDR4, HBM and the settings before a program begins, and reads when it is over."""

from dataclasses import dataclass

import numpy as np

from skipopu.program.context import Context
from skipopu.program.ddr_map import rotary_word
from skipopu.program.image_check import check_image
from skipopu.program.image_matrices import matrix_of, write_matrix
from skipopu.program.image_memory import SparseMemory, StripedMemory
from skipopu.program.image_vectors import write_constants, write_rotary, write_rows
from skipopu.program.parameters import Bits, ModelParameters
from skipopu.program.program import Program
from skipopu.spec.overlay import DDR_CHANNELS, FP16_BYTES

REUSE = "reuse_last"


@dataclass(frozen=True)
class Settings:
    """Registers; the first seven as in `skipopu.hdl.settings`, then its field ``kv``. Real numbers as FP32 bits."""

    share: int  # 1/D
    epsilon: int
    score_scale: int  # 1/√head_dim
    rotary_words: int
    rotary_stride: int  # in words
    vector: int  # chunks of a token's K, or V, in a layer
    value_offset: int  # chunks from a K vector to the V vector of the same slot
    bank_slots: int  # tokens a bank of the invariance buffer holds
    reuse: int


@dataclass(frozen=True)
class Image:
    """Contents of both memories: ``ddr`` over its channels, ``hbm`` a port each, from the port's own 0 on."""

    ddr: StripedMemory
    hbm: tuple[SparseMemory, ...]
    settings: Settings

    def copy(self) -> "Image":
        """Return an image of its own with the same contents."""
        return Image(self.ddr.copy(), tuple(port.copy() for port in self.hbm), self.settings)


def build_image(program: Program, parameters: ModelParameters) -> Image:
    """Lay ``parameters`` out as ``program`` expects them; raises SpecError where they do not fit its trace."""
    c = program.context
    check_image(c, parameters)
    hbm = tuple(SparseMemory() for _ in range(c.overlay.dma.hbm_ports))
    image = Image(StripedMemory(), hbm, settings_of(c, parameters))
    for (layer, name), matrix in c.memory.matrices.items():
        write_matrix(image.hbm, matrix, matrix_of(parameters, c.overlay, layer, name), c.overlay)
    write_constants(image.ddr, c, parameters)
    write_rotary(image.ddr, c, parameters)
    write_rows(image.ddr, c, parameters)
    # instructions lie in the first channel alone
    instructions = np.ascontiguousarray(program.words.astype("<u8")).reshape(-1).view(np.uint8)
    image.ddr.channels[0].write(c.memory.ddr["program"] // DDR_CHANNELS, instructions)
    return image


def settings_of(c: Context, parameters: ModelParameters) -> Settings:
    """Return the registers of a model on an overlay."""
    o, memory, banks = c.overlay, c.memory, c.overlay.buffer_ports
    return Settings(
        share=fp32(1 / c.shape.dimensions.hidden_size), epsilon=fp32(parameters.epsilon),
        score_scale=fp32(parameters.score_scale),
        rotary_words=-(-o.head_storage(c.shape.dimensions.head_dim) * FP16_BYTES // rotary_word(o)),
        rotary_stride=memory.strides.rotary // rotary_word(o),
        vector=memory.vector_bytes // o.chunk_bytes,
        value_offset=memory.slots * memory.stride_bytes // o.chunk_bytes,
        bank_slots=c.limits.capacity // banks if banks else 0,
        reuse=int(c.trace.header.kv_policy == REUSE),
    )  # fmt: skip


def fp32(value: float) -> int:
    """Return the FP32 bits of the nearest number."""
    return int(np.float32(value).view(np.uint32))


def logits_of(ddr: StripedMemory, c: Context) -> Bits:
    """Return the logits of the last step, FP16 bits [vocabulary]."""
    size = c.shape.dimensions.vocabulary * FP16_BYTES
    return ddr.read(c.memory.ddr["logits"], size).view("<u2").astype(np.uint16)
