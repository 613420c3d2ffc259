"""Which tensors of a network are its features: found from its trace, for any network.

The blocks B1, B2, ... of a network are the stages of its trace in the order in which they run: of a U-Net each scale
of the encoder, the bottleneck, and each scale of the decoder, so that the nine of most networks of EM-stellar are B1 to
B9 of its figure 5. The features of a block are what its convolutions find: the output of each, after the normalisation
and activation that alone read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cristae.models.stages import Layer, Trace, operation

FeatureKind = Literal["convolutions", "layers"]
"""`convolutions`: one image for each convolution, as what follows sees it. `layers`: every layer that gives an image,
also normalisations, activations, poolings and concatenations."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class FeatureLayer:
    """A layer whose channels are features."""

    number: int
    """In the trace."""
    name: str
    """Where its convolution is in the network, such as `encoder.0.conv`; its kind where it has no place."""
    stage: int
    """Number of the stage that it belongs to."""
    channels: int
    """Of the image that it gives; items that a network makes of its channels (slices, say) count as channels."""
    size: Shape
    scale: tuple[float, ...]
    """Voxels of the network's input for each voxel, along each axis."""


def feature_layers(trace: Trace, shapes: Mapping[int, Shape], kind: FeatureKind) -> tuple[FeatureLayer, ...]:
    """The layers whose channels are features, in the order in which they run.

    Left out are tensors without places: global means and what is computed from these, and the tokens of transformers.

    Args:
        trace: Of the network.
        shapes: The shape (B, C, *S) that each layer gives, by its number.
        kind: Which layers.
    """
    stage_of = {number: place for place, stage in enumerate(trace.stages) for number in stage.layers}
    ends = {number: number for number in stage_of} if kind == "layers" else _ends_of_convolutions(trace.layers)
    found = []
    for end, first in sorted(ends.items()):
        layer, shape = trace.layers[end], shapes.get(end, ())
        if _has_places(layer, shape, trace):
            name = trace.layers[first].path or layer.kind
            scale = tuple(float(one) for one in layer.scale)
            channels = shape[0] * layer.out_channels
            found.append(FeatureLayer(end, name, stage_of[first], channels, layer.size, scale))
    return tuple(found)


def _ends_of_convolutions(layers: Sequence[Layer]) -> dict[int, int]:
    """The last layer after each convolution that does no more than to normalise and activate it, with its number."""
    readers: dict[int, list[int]] = {}
    for number, layer in enumerate(layers):
        for source in layer.sources:
            readers.setdefault(source, []).append(number)
    ends = {}
    for number, layer in enumerate(layers):
        if layer.kernel and layer.conv_flop:
            end = number
            while len(readers.get(end, ())) == 1 and _only_changes_values(layers[readers[end][0]], layers[end], end):
                end = readers[end][0]
            ends[end] = number
    return ends


def _only_changes_values(layer: Layer, before: Layer, number: int) -> bool:
    same = (layer.size, layer.out_channels) == (before.size, before.out_channels)
    return same and layer.sources == (number,) and not operation(layer)


def _has_places(layer: Layer, shape: Shape, trace: Trace) -> bool:
    """Whether what a layer gives is an image that reaches over all of the output."""
    output = trace.logits[1]
    if layer.idle or len(shape) != 2 + len(output) or shape[1:] != (layer.out_channels, *layer.size):
        return False
    return all(side * scale >= least for side, scale, least in zip(layer.size, layer.scale, output, strict=True))
