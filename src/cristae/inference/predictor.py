"""From an image to the probabilities of any box of it, which do not depend on the box.

A local network gives exactly what one pass over the whole image would: the image, normalised, goes through the network
at once, padded at the far side with zeros to the next size that the network takes. For a network with a margin the
image is mirrored there and at its margins instead. Other networks, and those that are asked to, work in windows. With
test-time augmentation the same holds of each mirrored and turned copy of the image (see `test_time`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.inference.arrays import ArrayModel
from cristae.inference.blocks import borders_of_one_pass, output_box
from cristae.inference.borders import Borders, extend, inner_box
from cristae.inference.config import Precision
from cristae.inference.disagreement import Disagreement
from cristae.inference.ensemble import Ensemble, plan_ensemble
from cristae.inference.fusion import Average, Fusion
from cristae.inference.held_out import Groups, MemberPart, parts_by_members
from cristae.inference.locality import Locality
from cristae.inference.streaming.forms import StreamedForms
from cristae.inference.test_time import TestTime, Variant, variants_of
from cristae.inference.windows import Windows
from cristae.preprocess.filtered_slices import FilteredSlices, PassingFile
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer

DEFAULT_PASS_VOX = 4 * 1024 * 1024
"""Input voxels of one forward pass when there is no plan."""
_MOST_STRIP, _LEAST_PASS = 1 << 20, 1 << 16
"""Voxels that stream through, or pass as a whole, at a time where memory has run out."""


Session = Callable[[Tensor], Tensor]
"""What maps the input of a network, an image (B, C, *S), to its logits (B, K, *T)."""


@dataclass(frozen=True, eq=False)
class Member:
    """One network and what has to be known to apply it."""

    network: nn.Module
    """Maps an image (B, slices, Y, X) or (B, 1, Z, Y, X), and what it is shown beside it as further channels, to logits
    (B, K, *T)."""
    locality: Locality
    normalizer: Normalizer
    classes: Classes
    slices: int = 1
    """Slices that a 2D network takes as channels: the slice itself in the middle of its neighbours."""
    windows: Windows | None = None
    """How it is applied in windows; None applies it exactly, which it must be local for."""
    network_input: NetworkInput = NetworkInput()
    """What it is shown beside the image, and what happens to each window before the network."""
    test_time: TestTime = "none"
    """Mirrored and turned copies of the image that it predicts, too; their average is its prediction."""
    held_out: tuple[Box, ...] = ()
    """Boxes of the volume that it predicts without the members that have been trained on them."""

    def __post_init__(self) -> None:
        local = self.locality.local and self.network_input.whole_patch is None
        assert self.windows is not None or local, "a network that is not local needs windows"

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The copies of the image that it predicts."""
        return variants_of(self.test_time, single_slices=self.locality.ndim == 2 and self.slices == 1)

    def input_shape(self, output: Triple) -> tuple[int, ...]:
        """Shape (1, C, *S) of the network's input that gives an output patch of this shape (z, y, x)."""
        z, y, x = self.input_box_for(Box.of_shape(output)).shape
        flat = self.locality.ndim == 2
        channels = self.network_input.channels(z if flat else 1)
        return (1, channels, y, x) if flat else (1, channels, z, y, x)

    def input_box_for(self, output: Box) -> Box:
        """The input of the network for an output box; both may reach outside the volume."""
        z, y, x = self.locality.margin
        return output.grow((z + self.slices // 2, y, x))

    @property
    def reach_z(self) -> int:
        """Slices on each side whose grey values can change the prediction of a slice."""
        network = self.locality.reach[0] if self.windows is None else self.windows.size[0] - 1
        return network + self.slices // 2 + self.normalizer.reach[0]

    @property
    def borders(self) -> Borders:
        """How its input is extended beyond the volume."""
        return borders_of_one_pass(self.locality) if self.windows is None else (self.windows.border,) * 3

    def output_box(self, box: Box, shape: Triple) -> Box:
        """The output patch, or the hull of the windows, that holds the voxels of `box`."""
        if self.windows is not None:
            return self.windows.hull(box, shape)
        return output_box(box, shape, self.locality)

    def inner_input(self, box: Box, shape: Triple, variant: Variant) -> Box:
        """The voxels of an image of this shape whose normalised values a variant of `box` is made of."""
        turned = variant.shape(shape)
        wanted = self.input_box_for(self.output_box(variant.box(box, shape), turned))
        return variant.box_back(inner_box(wanted, turned, self.borders), shape)


class Predictor:
    """Applies one network, or several that are fused, to any box of an image. All of it stays on the device."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        pass_vox: int = DEFAULT_PASS_VOX,
        fusion: Fusion = Average(),
        threshold: float = 0.5,
        disagreement: bool = False,
        strip_vox: int = 0,
        sessions: Callable[[Member], Session] | None = None,
    ) -> None:
        """Take the networks as they are; `predicting` moves them to the device and to evaluation.

        Args:
            members: Networks with their normalisation; their order is that of merged classes.
            device: Where to compute.
            precision: `bf16` computes convolutions in bfloat16; probabilities are float32 in any case.
            pass_vox: Input voxels that may go through a network at once; at least one slice (2D) always does.
            fusion: How members of the same classes are combined.
            threshold: Above which a member votes for a sigmoid class; only `Majority` uses it.
            disagreement: Whether `compute` gives how much members disagree as one more channel, the last.
            strip_vox: Voxels that local networks stream through at a time (see `streaming`); 0 for whole passes.
            sessions: What computes the logits of a member in place of its network (see `runtimes`); None for the
                networks themselves.

        Raises:
            RunError: The members' classes cannot be joined, or the rule does not suit their number.
        """
        fusion.check(len(members))
        self.members = tuple(members)
        self.ensemble: Ensemble = plan_ensemble([member.classes for member in members])
        areas = [area for member in members for area in member.network_input.areas_px]
        self.areas_px: tuple[int, ...] = tuple(dict.fromkeys(areas))
        """Areas that slices are filtered with for any of them; `compute` gets these copies behind the image."""
        self.device = torch.device(device)
        self.precision: Precision = precision
        self.pass_vox = pass_vox
        self.fusion = fusion
        self.threshold = threshold
        self.disagreement = disagreement
        self.sessions = sessions
        self._strip_vox = strip_vox
        self._forms = self._streamed_forms()

    def take_less_memory(self) -> bool:
        """Let a quarter go through the networks at a time from now on; False where that is little already."""
        strip = self._strip_vox or 4 * _MOST_STRIP
        if max(strip, self.pass_vox) <= _LEAST_PASS:
            return False
        self._strip_vox, self.pass_vox = (max(_LEAST_PASS, size // 4) for size in (strip, self.pass_vox))
        self._forms = self._streamed_forms()
        return True

    def _streamed_forms(self) -> dict[Member, StreamedForms]:
        return {
            one: StreamedForms(one.network, one.locality.stride[-one.locality.ndim], self._strip_vox)
            for one in self.members
        }

    def parts(self, box: Box) -> tuple[MemberPart, ...]:
        """A box of the volume, cut where other members predict (see `Member.held_out`)."""
        return parts_by_members(box, self.ensemble.groups, [member.held_out for member in self.members])

    def input_box(self, box: Box, shape: Triple, groups: Groups | None = None) -> Box:
        """The voxels of an image of this shape that `compute` needs for `box`, of all members or of those in groups."""
        places = range(len(self.members)) if groups is None else [place for group in groups for place in group]
        return Box.around(
            [
                member.inner_input(box, shape, variant).grow(member.normalizer.reach).intersect(Box.of_shape(shape))
                for member in (self.members[place] for place in places)
                for variant in member.variants
            ]
        )

    def probabilities(self, image: Image | FilteredSlices, box: Box) -> Tensor:
        """Probabilities of `box`, float32 (K, Z, Y, X) on the device; channels as in `ensemble.channel_names`.

        Example: `with predictor.predicting(): predictor.probabilities(image, Box.of_shape(image.shape))`
        """
        known = self.input_box(box, image.shape)
        shown = self.shown(image) if isinstance(image, Image) else image
        return self.compute(shown.read(known), known, box, image.shape)

    def shown(
        self, image: Image, *, folder: Path | None = None, most: int | None = 1, threads: int | None = None
    ) -> Image | FilteredSlices:
        """What `compute` wants of an image: itself, or with its filtered copies.

        Args:
            image: On the grid that the networks work on.
            folder: Where filtered slices wait for the next box that needs them.
            most: How many wait there; None keeps all.
            threads: Slices that are filtered at the same time (see `FilteredSlices`).

        Raises:
            VolumeError: Its slices cannot be filtered with the members' areas.
        """
        if not self.areas_px:
            return image
        return FilteredSlices(image, self.areas_px, file=PassingFile(folder), most=most, threads=threads)

    @torch.inference_mode()
    def compute(self, raw: np.ndarray, known: Box, box: Box, shape: Triple, groups: Groups | None = None) -> Tensor:
        """The same from grey values that are in memory, with the disagreement behind it where that is asked for.

        Args:
            raw: Grey values (Z, Y, X) of the box `known`, which holds `input_box(box, shape, groups)`; where members
                are shown filtered copies, these behind it, (1 + areas, Z, Y, X).
            known: Where `raw` lies in the image.
            box: The voxels wanted.
            shape: The image's (z, y, x) shape.
            groups: The members that predict, of each group of the ensemble; None takes all.
        """
        grey = self._grey(raw)

        def one(place: int, between: Disagreement | None) -> Tensor:
            return self._averaged(self.members[place], between, grey, known, box, shape)

        return self.fused(one, groups)

    @torch.inference_mode()
    def of_member(
        self, place: int, raw: np.ndarray, known: Box, box: Box, shape: Triple, between: Disagreement | None = None
    ) -> Tensor:
        """Probabilities (K, Z, Y, X) of one member, by its place; arguments as for `compute`.

        Args:
            between: Takes what its variants give, where these are asked to disagree.
        """
        return self._averaged(self.members[place], between, self._grey(raw), known, box, shape)

    @torch.inference_mode()
    def fused(self, one: Callable[[int, Disagreement | None], Tensor], groups: Groups | None = None) -> Tensor:
        """Members together, with their disagreement behind that where it is asked for.

        Args:
            one: Gives a member's probabilities, float32 (K, Z, Y, X), by its place; they are overwritten. It tells the
                second argument those of the variants where a group has no other members.
            groups: The members that predict, of each group of the ensemble; None takes all.
        """
        channels: list[Tensor] = []
        disagreement: Tensor | None = None
        for group in self.ensemble.groups if groups is None else groups:
            softmax = self.members[group[0]].classes.softmax
            between = Disagreement(softmax=softmax) if self.disagreement else None
            found = self._terms(group, between, one)
            channels.append(self.fusion.fuse(found, softmax=softmax, threshold=self.threshold))
            if between is not None:
                doubt = between.result()[None]
                disagreement = doubt if disagreement is None else torch.maximum(disagreement, doubt)
        every = channels if disagreement is None else [*channels, disagreement]
        return every[0] if len(every) == 1 else torch.cat(every)

    def _grey(self, raw: np.ndarray) -> Tensor:
        """Grey values on the device, (C, Z, Y, X)."""
        return _to_device(raw if self.areas_px else raw[None], self.device)

    @contextmanager
    def predicting(self) -> Iterator[None]:
        """While inside, the networks are on the device and in evaluation; their mode is restored afterwards."""
        modes = [member.network.training for member in self.members]
        for member in self.members:
            member.network.to(self.device)
            member.network.eval()
        exact = self.precision == "fp32"
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=not exact):
                yield
        finally:
            for member, mode in zip(self.members, modes, strict=True):
                member.network.train(mode)

    def _terms(
        self, group: Sequence[int], between: Disagreement | None, one: Callable[[int, Disagreement | None], Tensor]
    ) -> Iterator[tuple[int, Tensor]]:
        """Each member of a group with its probabilities (K, Z, Y, X), one after the other.

        What disagrees are the members, or of a single one the variants of its test-time augmentation.
        """
        alone = len(group) == 1
        for place in group:
            found = one(place, between if alone else None)
            if between is not None and not alone:
                between.add(found, self.fusion.weight(place))
            yield place, found
            del found  # the next member is computed when this one's memory is free again

    def _averaged(
        self, member: Member, between: Disagreement | None, grey: Tensor, known: Box, box: Box, shape: Triple
    ) -> Tensor:
        """Probabilities (K, Z, Y, X) of a member: the mean over the variants that it predicts."""
        variants = member.variants
        around = Box.around([member.inner_input(box, shape, variant) for variant in variants])
        normal = member.normalizer.within(self._channels_of(member, grey), known, around, shape)
        total: Tensor | None = None
        for variant in variants:
            inside = member.inner_input(box, shape, variant)
            values = variant.apply(normal[(slice(None), *inside.relative_to(around.start).slices)])
            turned = variant.box(inside, shape), variant.box(box, shape), variant.shape(shape)
            found = variant.undo(self._one_pass(member, values, *turned))
            if between is not None:
                between.add(found, 1)
            total = found if total is None else total.add_(found)
            del found, values
        assert total is not None, "the image itself is a variant"
        return total if len(variants) == 1 else total.div_(len(variants))

    def _one_pass(self, member: Member, values: Tensor, inside: Box, box: Box, shape: Triple) -> Tensor:
        """Probabilities (K, Z, Y, X) of `box` as one pass over an image of this shape gives them.

        Args:
            member: A network.
            values: Normalised ones (C, Z, Y, X) of the box `inside`.
            inside: What the network needs of the image.
            box: The voxels wanted.
            shape: The image's (z, y, x), mirrored and turned.
        """
        output = member.output_box(box, shape)
        wanted = member.input_box_for(output)
        given = extend(values, inside, wanted, shape, member.borders)  # (C, Z, Y, X)
        if member.windows is not None:
            return self._in_windows(member, member.windows, given, wanted, box, shape)
        if isinstance(member.network, ArrayModel):
            found: Tensor = member.network(given[0], box.relative_to(output.start))
            return found
        core = box.relative_to(output.start).slices
        if member.locality.ndim == 3:
            volume = _channels_last(given[None]) if self.device.type == "cpu" else given[None]
            return self._forward(member, volume, streamed=True)[0][(slice(None), *core)]
        result = torch.empty((member.classes.n_logits, *box.shape), device=self.device)
        one = (1, given.shape[0] * member.slices, *given.shape[2:])
        step = 1 if self._forms[member].streams(one) else max(1, self.pass_vox // (given.shape[2] * given.shape[3]))
        for first in range(0, box.shape[0], step):
            last = min(first + step, box.shape[0])
            stack = _slices(given[:, first : last + member.slices - 1], member.slices)
            found = self._forward(member, stack, streamed=True)
            result[:, first:last] = found[(slice(None), slice(None), *core[1:])].transpose(0, 1)
        return result

    def _channels_of(self, member: Member, grey: Tensor) -> Tensor:
        """The image and the copies that a member is shown, of all that there are (C, Z, Y, X)."""
        areas = member.network_input.areas_px
        if areas == self.areas_px[: len(areas)]:
            return grey[: 1 + len(areas)]
        return grey[[0, *(1 + self.areas_px.index(area) for area in areas)]]

    def _in_windows(
        self, member: Member, windows: Windows, given: Tensor, known: Box, box: Box, shape: Triple
    ) -> Tensor:
        """Probabilities (K, Z, Y, X) of `box`, from normalised values `given` (C, Z, Y, X) of the box `known`."""
        result = torch.zeros((member.classes.n_logits, *box.shape), device=self.device)
        parts = windows.parts(box, shape)
        step = max(1, self.pass_vox // member.input_box_for(Box.of_shape(windows.size)).size)
        while some := list(islice(parts, step)):
            batch = torch.stack(
                [given[(..., *member.input_box_for(one.window).relative_to(known.start).slices)] for one in some]
            )
            # The slices of a 2D network are its channels: those of the image, then those of each copy.
            patches = member.network_input.apply(batch.flatten(1, 2) if member.locality.ndim == 2 else batch)
            if self.device.type == "cpu":
                patches = _channels_last(patches)
            found = self._forward(member, patches)
            found = found[:, :, None] if member.locality.ndim == 2 else found
            for one, window in zip(some, found, strict=True):
                weight = torch.from_numpy(one.weight).to(self.device)
                here = (slice(None), *one.box.relative_to(box.start).slices)
                result[here] += window[(slice(None), *one.box.relative_to(one.window.start).slices)] * weight
        return result

    def _forward(self, member: Member, batch: Tensor, *, streamed: bool = False) -> Tensor:
        """Probabilities (B, K, *S) of the network's input (B, C, *S)."""
        network: Session = self._forms[member].suited_to(batch.shape) if streamed else member.network
        if self.sessions is not None:
            network = self.sessions(member)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = network(batch)
        logits = logits.float()
        return torch.softmax(logits, dim=1) if member.classes.softmax else torch.sigmoid(logits)


def _slices(stack: Tensor, count: int) -> Tensor:
    """Every slice of (C, Z, Y, X), but for the neighbours at both ends, with its neighbours as channels, those of the
    image first: (B, C count, Y, X)."""
    return _channels_last(stack.unfold(1, count, 1).permute(1, 0, 4, 2, 3).flatten(1, 2))


def _channels_last(batch: Tensor) -> Tensor:
    """The same values (B, C, *S), whose strides ask the networks for the faster layout.

    It takes less memory, too: a convolution of the other layout copies what it gets and what it gives. A single channel
    is in either layout as it is, and so needs no copy.
    """
    channels, sides = batch.shape[1], batch.shape[2:]
    if channels > 1:
        layout = torch.channels_last if batch.ndim == 4 else torch.channels_last_3d
        return batch.contiguous(memory_format=layout)
    batch = batch.contiguous()
    return batch.as_strided(batch.shape, (math.prod(sides), 1, *batch.stride()[2:]))


def _to_device(raw: np.ndarray, device: torch.device) -> Tensor:
    """Grey values as float32 on the device; small types travel as they are."""
    small = raw.dtype in (np.uint8, np.int8, np.int16, np.float32)
    return torch.from_numpy(np.ascontiguousarray(raw, dtype=None if small else np.float32)).to(device).float()
