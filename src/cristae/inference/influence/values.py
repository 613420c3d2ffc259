"""Rules for functions that compute values: voxel by voxel, or along dimensions that are no axes of the image."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.inference.influence.spans import Call, Field, NotLocalError, Rule, Span, untouched

OPERATORS = {
    form: plain
    for plain in ("add", "sub", "mul", "truediv", "div", "pow", "and", "or", "matmul")
    for form in (plain, f"i{plain}", f"r{plain}")
} | {name: name for name in ("neg", "abs", "getitem", "lt", "le", "gt", "ge", "eq", "ne", "invert")}
"""Names of Python's operators, without underscores, and of what they do."""

_POINTWISE = (
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "silu", "mish", "gelu", "hardtanh",
    "hardswish", "hardsigmoid", "sigmoid", "logsigmoid", "tanh", "softplus", "softsign", "threshold", "dropout",
    "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout", "clone", "contiguous", "to", "float",
    "double", "half", "bfloat16", "type", "detach", "abs", "neg", "exp", "log", "sqrt", "rsqrt", "square", "reciprocal",
    "sin", "cos", "erf", "sign", "round", "floor", "ceil", "clamp", "clip", "clamp_min", "clamp_max", "zeros_like",
    "ones_like", "invert", "logical_not",
)  # fmt: skip
"""Functions of one map that keep its shape; further tensors are parameters, such as slopes for each channel."""
_N_ARY = (
    "add", "sub", "rsub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "truediv", "pow", "maximum",
    "minimum", "max", "min", "where", "lerp", "addcmul", "addcdiv", "and", "or", "lt", "le", "gt", "ge", "eq", "ne",
    "logical_and", "logical_or", "atan2", "hypot",
)  # fmt: skip
"""Functions of several maps, voxel by voxel, with broadcasting."""


def _pointwise(call: Call) -> Sequence[Field]:
    return [call.main]


def _n_ary(call: Call) -> Sequence[Field]:
    if call.name in ("max", "min") and len(call.tensors) == 1:
        return _reduced(call)  # along a dimension: another function of the same name
    total: list[Span | None] = [None] * call.outputs[0].ndim
    for tensor in call.tensors:
        for back in range(1, tensor.ndim + 1):
            total[-back] = _both(call, total[-back], call.field(tensor)[-back])
    for tensor in call.tensors:
        for back in range(1, tensor.ndim + 1):
            if total[-back] is not None and call.field(tensor)[-back] is None and tensor.shape[-back] != 1:
                raise call.refusal("with a map of its own, which belongs to one size of the image")
    return [tuple(total)]


def _both(call: Call, one: Span | None, other: Span | None) -> Span | None:
    if one is None or other is None:
        return one or other
    if one.axis != other.axis or len(one) != len(other):
        raise call.refusal("on maps that do not lie on each other")
    return one.hull(other)


def _batch_norm(call: Call) -> Sequence[Field]:
    if call.bind("input", "mean", "var", "weight", "bias", "training").get("training"):
        raise NotLocalError("its batch normalisation has no running statistics and depends on the whole image")
    return [call.main]


def _softmax(call: Call) -> Sequence[Field]:
    return [untouched(call, call.bind("input", "dim").get("dim"))]


def _reduced(call: Call) -> Sequence[Field]:
    # Only these take the dimension as their second argument; the others must name it.
    positional = call.name in ("mean", "sum", "amax", "amin", "max", "min")
    dims = (call.bind("input", "dim") if positional else call.given).get("dim")
    field = untouched(call, dims)
    gone = {dim % len(field) for dim in ([dims] if isinstance(dims, int) else dims or ())}
    kept = tuple(span for dim, span in enumerate(field) if dim not in gone)
    return [field if output.ndim == len(field) else kept for output in call.outputs]


def _layer_norm(call: Call) -> Sequence[Field]:
    shape = call.bind("input", "normalized_shape")["normalized_shape"]
    return [untouched(call, range(-len(shape), 0))]


def _linear(call: Call) -> Sequence[Field]:
    return [untouched(call, -1)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(_N_ARY, _n_ary),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "prod", "var", "std", "norm"), _reduced),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
}
"""By name, without the underscores of operators and in-place forms."""
