"""From an image to the probabilities of any box of it, exactly as one pass over the whole image would give them.

One pass is defined so: the image, normalised, is padded with zeros at the far side to the next size that the network
takes, and goes through the network at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.inference.arrays import ArrayModel
from cristae.inference.blocks import input_box
from cristae.inference.config import Precision
from cristae.inference.fuse import Fusion, plan_fusion
from cristae.inference.locality import Locality
from cristae.preprocess.normalize import Normalizer

DEFAULT_PASS_VOX = 4 * 1024 * 1024
"""Input voxels of one forward pass when no plan says otherwise."""


@dataclass(frozen=True, eq=False)
class Member:
    """One network and what has to be known to apply it."""

    network: nn.Module
    """Maps an image (B, 1, *S) to logits (B, K, *S)."""
    locality: Locality
    normalizer: Normalizer
    classes: Classes


class Predictor:
    """Applies one network, or several that are fused, to any box of an image. All of it stays on the device."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        pass_vox: int = DEFAULT_PASS_VOX,
    ) -> None:
        """Take the networks as they are; `predicting` moves them to the device and to evaluation.

        Args:
            members: Networks with their normalisation; their order is that of merged classes.
            device: Where to compute.
            precision: `bf16` computes convolutions in bfloat16; probabilities are float32 in any case.
            pass_vox: Input voxels that may go through a network at once; at least one slice (2D) always does.

        Raises:
            RunError: The members' classes cannot be joined.
        """
        self.members = tuple(members)
        self.fusion: Fusion = plan_fusion([member.classes for member in members])
        self.device = torch.device(device)
        self.precision: Precision = precision
        self.pass_vox = pass_vox

    def input_box(self, box: Box, shape: Triple) -> Box:
        """The voxels of an image of this shape that `compute` needs for `box`."""
        needed = [input_box(box, shape, member.locality) for member in self.members]
        start = tuple(min(other.start[axis] for other in needed) for axis in range(3))
        stop = tuple(max(other.stop[axis] for other in needed) for axis in range(3))
        return Box(start, stop).intersect(Box.of_shape(shape))  # type: ignore[arg-type]

    def probabilities(self, image: Image, box: Box) -> Tensor:
        """Probabilities of `box`, float32 (K, Z, Y, X) on the device; channels as in `fusion.channel_names`.

        Example: `with predictor.predicting(): predictor.probabilities(image, Box.of_shape(image.shape))`
        """
        seen = self.input_box(box, image.shape)
        return self.compute(image.read(seen), seen, box, image.shape)

    @torch.inference_mode()
    def compute(self, raw: np.ndarray, seen: Box, box: Box, shape: Triple) -> Tensor:
        """The same from grey values that are in memory.

        Args:
            raw: Grey values (Z, Y, X) of the box `seen`, which is `input_box(box, shape)`.
            seen: Where `raw` lies in the image.
            box: The voxels wanted.
            shape: The image's (z, y, x) shape.
        """
        grey = _to_device(raw, self.device)
        channels = [self._mean(group, grey, seen, box, shape) for group in self.fusion.groups]
        return channels[0] if len(channels) == 1 else torch.cat(channels)

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

    def _mean(self, group: tuple[int, ...], grey: Tensor, seen: Box, box: Box, shape: Triple) -> Tensor:
        total: Tensor | None = None
        for place in group:
            found = self._member(self.members[place], grey, seen, box, shape)
            total = found if total is None else total.add_(found)
        assert total is not None
        return total if len(group) == 1 else total.div_(len(group))

    def _member(self, member: Member, grey: Tensor, seen: Box, box: Box, shape: Triple) -> Tensor:
        wanted = input_box(box, shape, member.locality)
        inside = wanted.intersect(seen)
        padded = torch.zeros(wanted.shape, device=self.device)
        padded[inside.relative_to(wanted.start).slices] = member.normalizer.apply(
            grey[inside.relative_to(seen.start).slices]
        )
        core = box.relative_to(wanted.start).slices
        if member.locality.ndim == 3:
            return self._forward(member, padded[None, None])[0][(slice(None), *core)].float()
        result = torch.empty((member.classes.n_logits, *box.shape), device=self.device)
        step = max(1, self.pass_vox // (wanted.shape[1] * wanted.shape[2]))
        for first in range(0, box.shape[0], step):
            found = self._forward(member, _channels_last(padded[first : first + step]))
            result[:, first : first + step] = found[(slice(None), slice(None), *core[1:])].transpose(0, 1)
        return result

    def _forward(self, member: Member, batch: Tensor) -> Tensor:
        """Probabilities (B, K, *S) of normalised images (B, 1, *S)."""
        if isinstance(member.network, ArrayModel):
            found: Tensor = member.network(batch)
            return found
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = member.network(batch)
        logits = logits.float()
        return torch.softmax(logits, dim=1) if member.classes.softmax else torch.sigmoid(logits)


def _channels_last(slices: Tensor) -> Tensor:
    """Slices (B, Y, X) as a batch (B, 1, Y, X) whose strides ask the networks for the faster layout, without a copy."""
    count, y, x = slices.shape
    return slices.as_strided((count, 1, y, x), (y * x, 1, x, 1))


def _to_device(raw: np.ndarray, device: torch.device) -> Tensor:
    """Grey values as float32 on the device; small types travel as they are."""
    small = raw.dtype in (np.uint8, np.int8, np.int16, np.float32)
    return torch.from_numpy(np.ascontiguousarray(raw, dtype=None if small else np.float32)).to(device).float()
