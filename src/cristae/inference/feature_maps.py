"""The features of a network at one place of an image, brought to one grid.

The network is applied as in prediction: where it is local, with what it sees around, so that its features are those of
one pass over the whole image; otherwise in one window of the size that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.errors import NetworkError, RunError
from cristae.inference.area_mean import area_weights
from cristae.inference.arrays import ArrayModel
from cristae.inference.borders import extend, inner_box
from cristae.inference.memory import forward_bytes, measured_bytes
from cristae.inference.predictor import Member, Predictor
from cristae.inference.shadow import shadow_of
from cristae.models.features import FeatureKind, FeatureLayer, feature_layers
from cristae.models.stages import Trace
from cristae.models.trace import watch
from cristae.preprocess.filtered_slices import FilteredSlices
from cristae.preprocess.normalize import Normalizer

Write = Callable[[int, np.ndarray], None]
"""Takes the number of a channel, and the values of it and those that follow, float32 (C, size * size)."""


@dataclass(frozen=True)
class LayerChannels:
    """A layer, and how many of a block's channels are its own."""

    name: str
    channels: int


@dataclass(frozen=True)
class FeatureBlock:
    """The features of one stage of a network."""

    network: str
    name: str
    """B1, B2, ... in the order in which the network computes them."""
    stage: str
    """What the stage is called in the network, such as `encoder.0`."""
    scale: tuple[float, ...]
    """Voxels of the image for each of its voxels, along each axis."""
    layers: tuple[LayerChannels, ...]

    @property
    def channels(self) -> int:
        """Of all its layers."""
        return sum(layer.channels for layer in self.layers)


class FeatureNetwork:
    """A network whose features can be had at any place of an image."""

    def __init__(self, name: str, member: Member, *, kind: FeatureKind, size: int, device: torch.device) -> None:
        """
        Args:
            name: What its blocks say of it.
            member: The network, and how it is applied; of any image, as `collect` gets the grey values' mapping.
            kind: Which of its layers have features.
            size: Cells along y and x of the grid that features are brought to.
            device: Where it runs.

        Raises:
            RunError: It is no network.
        """
        if isinstance(member.network, ArrayModel):
            raise RunError(f"{name}: is a random forest, which has no feature maps; name runs of networks")
        self.name = name
        self.size = size
        self.kind: FeatureKind = kind
        self._member = replace(member, test_time="none", held_out=())
        self._predictor = Predictor([self._member], device=device)
        self._layers: dict[tuple[int, ...], tuple[FeatureLayer, ...]] = {}
        self._blocks: tuple[FeatureBlock, ...] = ()
        self._first: dict[int, int] = {}
        """The first channel of each layer that is asked for, by its place among the layers."""

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._member.network

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._predictor.device

    @property
    def blocks(self) -> tuple[FeatureBlock, ...]:
        """The blocks whose features are collected, after `choose`."""
        return self._blocks

    @property
    def channels(self) -> int:
        """Of all blocks that are collected."""
        return sum(block.channels for block in self._blocks)

    def input_shape(self, place: Box, shape: Triple) -> tuple[int, ...]:
        """Shape (1, C, *S) of what the network is shown for a place.

        Raises:
            RunError: The place is larger than the windows that the network is applied in.
        """
        return self._member.input_shape(self._output(place, shape).shape)

    def bytes_at(self, place: Box, shape: Triple) -> int:
        """Memory that one pass takes."""
        given = self.input_shape(place, shape)
        try:
            return forward_bytes(self._member.network, given)
        except Exception:  # a network is anyone's code, and may fail on shapes alone
            return measured_bytes(self._member.network, given)

    def choose(self, names: Sequence[str] | None, place: Box, shape: Triple) -> tuple[str, ...]:
        """Take all blocks, or those that are called so, by name (`B5`) or stage (`encoder.0`).

        Args:
            names: Of any network; None takes all.
            place: Where the network will be looked at.
            shape: The image's (z, y, x).

        Returns:
            All names that its blocks have.
        """
        given = self.input_shape(place, shape)
        trace, layers = self._trace(given)
        self._layers[given] = layers
        stages = list(dict.fromkeys(layer.stage for layer in sorted(layers, key=lambda one: one.stage)))
        found, first, known = [], 0, list[str]()
        for number, stage in enumerate(stages, start=1):
            own = [(at, layer) for at, layer in enumerate(layers) if layer.stage == stage]
            label, called = f"B{number}", trace.stages[stage].name
            known += label, called
            if names is not None and label not in names and called not in names:
                continue
            for at, layer in own:
                self._first[at] = first
                first += layer.channels
            parts = tuple(LayerChannels(layer.name, layer.channels) for _, layer in own)
            found.append(FeatureBlock(self.name, label, called, own[0][1].scale, parts))
        self._blocks = tuple(found)
        return tuple(dict.fromkeys(known))

    def shown(self, image: Image) -> Image | FilteredSlices:
        """What `collect` reads of an image: itself, or with the filtered copies that the network takes."""
        return self._predictor.shown(image)

    def collect(self, image: Image | FilteredSlices, normalizer: Normalizer, place: Box, write: Write) -> None:
        """Hand over the features at a place, layer by layer, each as often as it is computed; the last one counts.

        Args:
            image: What `shown` gives.
            normalizer: Of its grey values.
            place: One slice of a window of the image.
            write: Takes them.

        Raises:
            RunError: A feature is not finite.
        """
        with self._predictor.predicting(), torch.inference_mode():
            batch, start = self._input(image, normalizer, place)
            layers = self._layers_for(batch)
            seen = {layer.number: at for at, layer in enumerate(layers) if at in self._first}

            def take(number: int, made: Tensor) -> None:
                at = seen.get(number)
                if at is None or tuple(made.shape[2:]) != layers[at].size:
                    return
                found = self._on_grid(made, layers[at], place.relative_to(start), batch.shape[2:]).cpu().numpy()
                if not np.isfinite(found).all():
                    raise RunError(
                        f"{self.name}: layer {layers[at].name} gives values that are not finite for {place}; its "
                        "weights are of no use"
                    )
                write(self._first[at], found)

            watch(self._member.network, batch, seen=take)

    def _output(self, place: Box, shape: Triple) -> Box:
        """The output of the pass that shows a place."""
        windows = self._member.windows
        if windows is None:
            return self._member.output_box(place, shape)
        if any(a > b for a, b in zip(place.shape, windows.size, strict=True)):
            sides = " x ".join(map(str, windows.size[1:]))
            raise RunError(
                f"{self.name}: is applied in windows of {sides} pixels, so that is the most it can be shown at once; "
                "make --window smaller"
            )
        starts = [
            _around(low, high, side, length)
            for low, high, side, length in zip(place.start, place.stop, windows.size, shape, strict=True)
        ]
        return Box.of_shape(windows.size).shift(starts)

    def _input(self, image: Image | FilteredSlices, normalizer: Normalizer, place: Box) -> tuple[Tensor, Triple]:
        """What the network is shown (1, C, *S), and where that begins in the image."""
        member, shape = self._member, image.shape
        wanted = member.input_box_for(self._output(place, shape))
        inside = inner_box(wanted, shape, member.borders)
        known = inside.grow(normalizer.reach).intersect(Box.of_shape(shape))
        raw = np.asarray(image.read(known), np.float32)
        grey = torch.from_numpy(raw if raw.ndim == 4 else raw[None]).to(self._predictor.device)
        normal = normalizer.within(grey, known, inside, shape)
        given = extend(normal, inside, wanted, shape, member.borders)[None]
        batch = given.flatten(1, 2) if member.locality.ndim == 2 else given
        return (batch if member.windows is None else member.network_input.apply(batch)), wanted.start

    def _layers_for(self, batch: Tensor) -> tuple[FeatureLayer, ...]:
        """The layers of a pass of this size, which are those of every other size."""
        shape = tuple(batch.shape)
        if shape not in self._layers:
            before = next(iter(self._layers.values()))
            self._layers[shape] = self._trace(shape)[1]
            if [(one.name, one.channels) for one in self._layers[shape]] != [(o.name, o.channels) for o in before]:
                raise NetworkError(
                    f"{self.name}: computes other layers for windows of other sizes; name images that are all at least "
                    "as large as its patches, or one with --window"
                )
        return self._layers[shape]

    def _trace(self, shape: tuple[int, ...]) -> tuple[Trace, tuple[FeatureLayer, ...]]:
        """What the network does with an input of this shape; nothing is computed."""
        network = self._member.network
        shapes: dict[int, tuple[int, ...]] = {}

        def note(number: int, made: Tensor) -> None:
            shapes[number] = tuple(made.shape)

        try:
            with shadow_of(network) as shadow:
                trace = watch(network, torch.empty(shape, device="meta"), apply=shadow, seen=note)
        except Exception:  # a network is anyone's code, and may fail on shapes alone
            shapes.clear()
            device = next(network.parameters()).device
            trace = watch(network, torch.zeros(shape, device=device), seen=note)
        return trace, feature_layers(trace, shapes, self.kind)

    def _on_grid(self, made: Tensor, layer: FeatureLayer, seen: Box, given: Sequence[int]) -> Tensor:
        """Area means (C, size * size) of what a layer gives, over the part `seen` of the network's input."""
        ndim = self._member.locality.ndim
        values = made.float().flatten(0, 1)
        weights = []
        for axis in range(3 - ndim, 3):
            at = axis - (3 - ndim)
            scale, length = layer.scale[at], layer.size[at]
            valid = self._member.locality.margin[axis] > 0  # then features are those of the input's centre
            begin = (given[at] - length * scale) / 2 if valid else 0.0
            low, high = ((end - begin) / scale for end in (seen.start[axis], seen.stop[axis]))
            weights.append(_weights(length, low, high, 1 if axis == 0 else self.size).to(values.device))
        if ndim == 3:
            values = torch.einsum("czyx,z->cyx", values, weights[0][0])
        return (weights[-2] @ values @ weights[-1].T).flatten(1)


@lru_cache(maxsize=256)
def _weights(length: int, low: float, high: float, cells: int) -> Tensor:
    return torch.from_numpy(area_weights(length, low, high, cells)).float()


def _around(low: int, high: int, side: int, length: int) -> int:
    """Where a window begins that holds `low` to `high` in its middle, inside the image where it can be."""
    if length <= side:
        return -((side - length) // 2)
    return min(max(0, low - (side - (high - low)) // 2), length - side)
