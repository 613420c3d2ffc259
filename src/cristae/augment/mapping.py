"""Where the voxels of augmented patches come from: what each geometric augmentation contributes, and all of it composed.

Positions are voxels from the centre of a patch. An augmentation says where its output's voxels come from in its input.
Augmentations in the order of the recipe are the maps f1, f2, ... of a patch; what all of them give at a position p lay
at f1(f2(... p)) in the patch that was read, so composing begins with the last. z is moved by itself: no voxel's y and x
depends on another slice's place, except by a step of whole slices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Places:
    """Source positions of the output's voxels, of n samples and L slices; L is 1 where all slices are moved alike.

    As long as they are affine they are matrices; then they are tensors.
    """

    affine: np.ndarray
    """float64 (n, L, 2, 3): (y, x) from (y, x, 1) of the output; without effect where `plane` is there."""
    aligned: bool
    """Whether the source's y depends only on the output's y, and x on x, whatever is drawn."""
    along_z: np.ndarray
    """float64 (n, 2): scale and offset."""
    slices: np.ndarray
    """float64: positions (Z,) of the output's slices along z."""
    axes: tuple[np.ndarray, np.ndarray]
    """float64: positions (Y,) and (X,) of the output's voxels."""
    device: torch.device
    plane: tuple[Tensor, Tensor] | None = None
    """float32 (n, L, Y, X): y and x, once they are no longer affine."""

    @classmethod
    def of_output(cls, count: int, n_slices: int, size: Sequence[int], device: torch.device) -> Places:
        """Of patches (Y, X) with `n_slices` that nothing has moved."""
        identity = np.broadcast_to(np.eye(2, 3), (count, 1, 2, 3))
        along_z = np.tile([1.0, 0.0], (count, 1))
        return cls(identity, True, along_z, centred(n_slices), (centred(size[0]), centred(size[1])), device)

    def z(self) -> np.ndarray:
        """float64 (n, Z): where each slice of the output comes from."""
        return self.along_z[:, :1] * self.slices + self.along_z[:, 1:]

    def rows_and_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 (n, L, Y) and (n, L, X) of aligned places."""
        rows = self.affine[..., 0, :1] * self.axes[0] + self.affine[..., 0, 2:]
        return rows, self.affine[..., 1, 1:2] * self.axes[1] + self.affine[..., 1, 2:]

    def dense(self) -> tuple[Tensor, Tensor]:
        """float32 (n, L, Y, X): the source's y and x."""
        if self.plane is not None:
            return self.plane
        y, x = (self._component(self.affine[..., row, :]) for row in (0, 1))
        return y, x

    def _component(self, row: np.ndarray) -> Tensor:
        along_y = self.on_device(row[..., :1] * self.axes[0] + row[..., 2:])
        along_x = self.on_device(row[..., 1:2] * self.axes[1])
        return along_y.unsqueeze(-1) + along_x.unsqueeze(-2)

    def on_device(self, values: np.ndarray) -> Tensor:
        """A float32 tensor of these values."""
        return torch.from_numpy(values.astype(np.float32)).to(self.device, non_blocking=True)


class Step(ABC):
    """What one augmentation contributes to where the voxels of B samples come from."""

    @property
    @abstractmethod
    def exact(self) -> np.ndarray:
        """bool (B,): whether it only permutes a sample's voxels, or leaves them."""

    @abstractmethod
    def of(self, samples: np.ndarray) -> Step:
        """The same for some samples (n,) only."""

    @abstractmethod
    def before(self, places: Places) -> Places:
        """Where the voxels at these places come from in what this augmentation is given."""


@dataclass(frozen=True, eq=False)
class Affine(Step):
    """Turn, shear, stretch and shift in the plane, stretch and shift along z, about the centre."""

    plane: np.ndarray
    """float64 (B, 2, 3): source (y, x) from (y, x, 1) of the output."""
    along_z: np.ndarray
    """float64 (B, 2): scale and offset of the source's z."""
    aligned: bool
    """Whether y and x stay apart whatever is drawn. A fact of the kind of augmentation, never of what was drawn, so
    that a sample is computed in the same way whatever is beside it in the batch."""

    @classmethod
    def identity(cls, count: int, *, aligned: bool = True) -> Affine:
        """Nothing moves; the arrays are for the caller to fill."""
        return cls(np.tile(np.eye(2, 3), (count, 1, 1)), np.tile([1.0, 0.0], (count, 1)), aligned)

    @property
    def exact(self) -> np.ndarray:
        linear, straight = np.abs(self.plane[:, :, :2]), np.eye(2)
        permutes = np.all(linear == straight, axis=(1, 2)) | np.all(linear == straight[::-1], axis=(1, 2))
        permutes &= np.abs(self.along_z[:, 0]) == 1
        return permutes & np.all(self.plane[:, :, 2] == 0, axis=1) & (self.along_z[:, 1] == 0)

    def of(self, samples: np.ndarray) -> Affine:
        return replace(self, plane=self.plane[samples], along_z=self.along_z[samples])

    def then(self, later: Affine) -> Affine:
        """Both as one, `later` being applied to what this one gives."""
        plane = _composed(self.plane, later.plane)
        scale, offset = (self.along_z[:, i] for i in (0, 1))
        along_z = np.stack([scale * later.along_z[:, 0], scale * later.along_z[:, 1] + offset], axis=1)
        return Affine(plane, along_z, self.aligned and later.aligned)

    def before(self, places: Places) -> Places:
        now = Affine(places.affine[:, 0], places.along_z, True)
        along_z = self.then(now).along_z
        if places.plane is None:
            affine = _composed(self.plane[:, None], places.affine)
            return replace(places, affine=affine, aligned=places.aligned and self.aligned, along_z=along_z)
        y, x = places.plane
        moved = (self._row(places, row, y, x) for row in (0, 1))
        return replace(places, plane=tuple(moved), aligned=False, along_z=along_z)

    def _row(self, places: Places, row: int, y: Tensor, x: Tensor) -> Tensor:
        by_y, by_x, shift = (places.on_device(self.plane[:, row, i]).view(-1, 1, 1, 1) for i in range(3))
        return by_y * y + by_x * x + shift


@dataclass(frozen=True, eq=False)
class SliceShifts(Step):
    """Shift each slice of a patch by itself, in its plane."""

    shifts: np.ndarray
    """float64 (B, Z, 2): what is added to y and x of each slice that the network sees."""

    @property
    def exact(self) -> np.ndarray:
        return np.all(self.shifts == 0, axis=(1, 2))

    def of(self, samples: np.ndarray) -> SliceShifts:
        return SliceShifts(self.shifts[samples])

    def before(self, places: Places) -> Places:
        n_slices = self.shifts.shape[1]
        nearest = np.floor(places.z() + n_slices / 2).astype(int).clip(0, n_slices - 1)
        shifts = np.take_along_axis(self.shifts, nearest[..., None], axis=1)
        if places.plane is None:
            affine = np.repeat(places.affine, shifts.shape[1] // places.affine.shape[1], axis=1)
            affine[..., 2] += shifts
            return replace(places, affine=affine)
        y, x = (values + places.on_device(shifts[..., i])[..., None, None] for i, values in enumerate(places.plane))
        return replace(places, plane=(y, x))


def centred(side: int) -> np.ndarray:
    """Positions of `side` voxels from their centre.

    Example:
        >>> centred(4).tolist()
        [-1.5, -0.5, 0.5, 1.5]
    """
    return np.arange(side) - (side - 1) / 2


def _composed(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Matrices (..., 2, 3) of `outer` applied to what `inner` gives."""
    composed = outer[..., :2] @ inner
    composed[..., 2] += outer[..., 2]
    return composed
