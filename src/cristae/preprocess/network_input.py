"""What the network gets beside the image, and what happens to a patch after augmentation, right before the network: the
same in training, validation and prediction.

Steps look at whole patches, so that a network with such an input is not local: it is predicted in windows of the size
of its training patches, each of which goes through the same steps. Filtered copies of whole slices are channels of the
image already, wherever it is cut, so a local network that is shown them stays local.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Array = TypeVar("Array")
"""A numpy array or a torch tensor on any device."""


class PatchStep(Protocol):
    """One thing that is done to patches, each by itself: the same bytes whatever else is in the batch."""

    @property
    def reason(self) -> str:
        """Why the network cannot be applied exactly, in words that follow 'because'."""

    def channels(self, given: int) -> int:
        """How many channels come out when `given` go in."""

    def __call__(self, patches: Any) -> Any:
        """Patches float32 (B, C, *S), whose `C` are slices or further channels, to (B, `channels(C)`, *S).

        `S` are the voxels that the network sees, its margin included. The argument is not changed. What it gets is a
        numpy array or a torch tensor on any device, and it returns the same. Channels that are added come behind the
        given ones.
        """


@dataclass(frozen=True)
class NetworkInput:
    """The steps of a recipe, in their order; none leaves patches as they are."""

    steps: tuple[PatchStep, ...] = ()
    areas_px: tuple[int, ...] = ()
    """Areas that whole slices are grain-filtered with: for each, patches have as many further channels as slices."""

    @classmethod
    def of(cls, steps: Sequence[PatchStep | None], areas_px: tuple[int, ...] = ()) -> NetworkInput:
        """Without the steps that are not there."""
        return cls(tuple(step for step in steps if step is not None), areas_px)

    @property
    def whole_patch(self) -> str | None:
        """Why a network with this input cannot be applied exactly; None where it can."""
        return self.steps[0].reason if self.steps else None

    def channels(self, slices: int) -> int:
        """Channels of the network's input when it sees so many slices."""
        slices *= 1 + len(self.areas_px)
        for step in self.steps:
            slices = step.channels(slices)
        return slices

    def apply(self, patches: Array) -> Array:
        """Normalised and augmented patches to what the network gets: float32 (B, C, *S), with the filtered copies of
        slices behind these, to (B, C', *S), with C' the `channels` of the slices."""
        for step in self.steps:
            patches = step(patches)
        return patches
