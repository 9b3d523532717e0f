"""The shape that a statically pruned model is executed in: memory, tiles, K/V vectors and LM head are built for it."""

from dataclasses import replace

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import bound_of
from skipopu.spec.model_shape import Dimensions, ModelShape
from skipopu.trace import Header, LayerShape, Trace
from skipopu.trace.layer_widths import Widths, width_groups

HEADS = ("attention_heads", "kv_heads")
Sizes = tuple[int, ...]


def executed_shape(header: Header) -> ModelShape:
    """Return the model's shape with the sizes that its layers are cut to; of several FFN widths the widest.

    A module that a layer lacks has no say. Raises SpecError where layers, or tokens of one, differ in other sizes:
    the residual stream and a token's K/V vectors are as long in every layer.
    """
    for cut in header.layer_shapes:
        if cut.segment:
            raise SpecError(
                f"trace: layer {cut.layer} has a shape of its own for segment {cut.segment}; the compiler takes layer"
                " shapes of all tokens (segment = '')"
            )
    d = header.shape.dimensions
    (hidden,), (heads, kv_heads) = _one(header, ("hidden_size",)), _one(header, HEADS)
    (ffn,) = max(_found(header, ("intermediate_size",)), default=(d.intermediate_size,))
    left = replace(d, hidden_size=hidden, attention_heads=heads, kv_heads=kv_heads, intermediate_size=ffn)
    _check(left)
    return header.shape if left == d else replace(header.shape, dimensions=left)


def _check(left: Dimensions) -> None:
    for name in ("hidden_size", *HEADS, "intermediate_size"):
        bound, value = bound_of(Dimensions.__dataclass_fields__[name]), getattr(left, name)
        if bound and value < bound.low:
            raise SpecError(f"trace: layers have {name} = {value}; valid: at least {bound.low:g}, or 0 for no module")


def layer_widths(trace: Trace) -> list[Widths]:
    """Return the widths of every layer, for traces that `executed_shape` takes; 0 where a module is lacking."""
    return [width_groups(trace, layer)[0][1] for layer in range(trace.layers)]


def check_pairs(header: Header, shape: ModelShape) -> None:
    """K/V heads are packed in twos: raise SpecError for an odd number, with the sparsities that leave an even one."""
    left, whole = shape.dimensions.kv_heads, header.shape.dimensions.kv_heads
    if left % 2 == 0:
        return
    nearest = [f"{1 - kept / whole:g} ({kept} heads)" for kept in (left + 1, left - 1) if 0 < kept <= whole]
    lever = f"; nearest sparsity: {' or '.join(nearest)} of {whole}" if left < whole else ""
    raise SpecError(f"shape {shape.name}: kv_heads = {left}; two heads are packed: must be even{lever}")


def _one(header: Header, names: tuple[str, ...]) -> Sizes:
    """Sizes that all layers share that have any."""
    whole = tuple(getattr(header.shape.dimensions, name) for name in names)
    found = sorted(_found(header, names)) or [whole]
    if len(found) > 1:
        values = " and ".join("/".join(map(str, sizes)) for sizes in found)
        raise SpecError(
            f"trace: layers have {'/'.join(names)} = {values}; the compiler takes one for all layers,"
            " which may differ in intermediate_size and ranks, and lack attention or FFN"
        )
    return found[0]


def _found(header: Header, names: tuple[str, ...]) -> set[Sizes]:
    cuts = {cut.layer: cut for cut in header.layer_shapes}
    layers = [cuts.get(n, LayerShape(n)) for n in range(header.shape.dimensions.layers)]
    return {sizes for cut in layers if all(sizes := _sizes(header.shape, cut, names))}


def _sizes(shape: ModelShape, cut: LayerShape, names: tuple[str, ...]) -> Sizes:
    own = ((getattr(cut, name), getattr(shape.dimensions, name)) for name in names)
    return tuple(whole if size is None else size for size, whole in own)
