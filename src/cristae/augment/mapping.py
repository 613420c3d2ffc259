"""Where the voxels of augmented patches come from: what each augmentation contributes, and all of it composed.

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
    plane_bound: tuple[float, float] = (0, 0)
    """What no |y| and |x| of `plane` exceeds."""

    @classmethod
    def of_output(cls, count: int, n_slices: int, size: Sequence[int], device: torch.device) -> Places:
        """Of patches (Y, X) with `n_slices` that nothing has moved."""
        identity = np.broadcast_to(np.eye(2, 3), (count, 1, 2, 3))
        along_z = np.tile([1.0, 0.0], (count, 1))
        return cls(identity, True, along_z, centred(n_slices), (centred(size[0]), centred(size[1])), device)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, L, Y, X)."""
        return len(self.affine), self._levels, len(self.axes[0]), len(self.axes[1])

    @property
    def _levels(self) -> int:
        return int(self.affine.shape[1] if self.plane is None else self.plane[0].shape[1])

    @property
    def bound(self) -> tuple[float, float]:
        """What no |y| and |x| exceeds."""
        if self.plane is not None:
            return self.plane_bound
        farthest = [np.abs(axis).max() for axis in self.axes]
        y, x = np.max(np.abs(self.affine) @ [*farthest, 1], axis=(0, 1))
        return float(y), float(x)

    def z(self) -> np.ndarray:
        """float64 (n, Z): where each slice of the output comes from."""
        places: np.ndarray = self.along_z[:, :1] * self.slices + self.along_z[:, 1:]
        return places

    def rows_and_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 (n, L, Y) and (n, L, X) of aligned places."""
        rows = self.affine[..., 0, :1] * self.axes[0] + self.affine[..., 0, 2:]
        return rows, self.affine[..., 1, 1:2] * self.axes[1] + self.affine[..., 1, 2:]

    def values(self, axis: int, *, scale: float = 1, offset: float = 0, out: Tensor | None = None) -> Tensor:
        """float32 (n, L, Y, X): scale * y + offset for axis 0, of x for axis 1."""
        if self.plane is not None:
            if offset:
                return torch.add(self.plane[axis] * scale if scale != 1 else self.plane[axis], offset, out=out)
            return torch.mul(self.plane[axis], scale, out=out)
        along_y, along_x = (self.on_device(part) for part in self.separable(axis, scale=scale, offset=offset))
        return torch.add(along_y.unsqueeze(-1), along_x.unsqueeze(-2), out=out)

    def separable(self, axis: int, *, scale: float = 1, offset: float = 0) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n, L, Y) and (n, L, X) whose sums are the `values` of affine places."""
        row = self.affine[..., axis, :] * scale
        along_y, along_x = row[..., :1] * self.axes[0] + row[..., 2:] + offset, row[..., 1:2] * self.axes[1]
        return along_y.astype(np.float32), along_x.astype(np.float32)

    def dense(self) -> tuple[Tensor, Tensor]:
        """float32 (n, L, Y, X): y and x."""
        return self.plane or (self.values(0), self.values(1))

    def centre(self, size: Sequence[int]) -> Places:
        """The same for the (Z, Y, X) voxels at the centre of the output."""
        there = (len(self.slices), len(self.axes[0]), len(self.axes[1]))
        levels, rows, columns = (slice((n - m) // 2, (n + m) // 2) for n, m in zip(there, size, strict=True))
        of_plane = levels if self._levels > 1 else slice(None)
        y, x = self.plane or (None, None)
        cut = (slice(None), of_plane, rows, columns)
        return replace(
            self,
            affine=self.affine[:, levels] if self.affine.shape[1] > 1 else self.affine,
            slices=self.slices[levels],
            axes=(self.axes[0][rows], self.axes[1][columns]),
            plane=None if y is None or x is None else (y[cut], x[cut]),
        )

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
        permutes &= self.along_z[:, 1] == 0
        exact: np.ndarray = permutes & np.all(self.plane[:, :, 2] == 0, axis=1)
        return exact

    def of(self, samples: np.ndarray) -> Affine:
        return replace(self, plane=self.plane[samples], along_z=self.along_z[samples])

    def then(self, later: Affine) -> Affine:
        """Both as one, `later` being applied to what this one gives."""
        plane, along_z = _composed(self.plane, later.plane), _composed_along_z(self.along_z, later.along_z)
        return Affine(plane, along_z, self.aligned and later.aligned)

    def before(self, places: Places) -> Places:
        along_z = _composed_along_z(self.along_z, places.along_z)
        if places.plane is None:
            affine = _composed(self.plane[:, None], places.affine)
            return replace(places, affine=affine, aligned=places.aligned and self.aligned, along_z=along_z)
        y, x = np.max(np.abs(self.plane) @ [*places.bound, 1], axis=0)
        moved = (self._row(places, 0), self._row(places, 1))
        return replace(places, plane=moved, plane_bound=(float(y), float(x)), along_z=along_z)

    def _row(self, places: Places, row: int) -> Tensor:
        (y, x) = places.dense()
        by_y, by_x, shift = (places.on_device(self.plane[:, row, i]).view(-1, 1, 1, 1) for i in range(3))
        return by_y * y + by_x * x + shift


@dataclass(frozen=True, eq=False)
class SliceShifts(Step):
    """Shift each slice of a patch by itself, in its plane."""

    shifts: np.ndarray
    """float64 (B, Z, 2): what is added to y and x of each slice that the network sees."""

    @property
    def exact(self) -> np.ndarray:
        return np.logical_not(self.shifts.any(axis=(1, 2)))

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
        along_y, along_x = (places.on_device(shifts[..., i])[..., None, None] for i in (0, 1))
        y, x = np.abs(shifts).max(axis=(0, 1)) + places.bound
        moved = (places.plane[0] + along_y, places.plane[1] + along_x)
        return replace(places, plane=moved, plane_bound=(float(y), float(x)))


def centred(side: int) -> np.ndarray:
    """Positions of `side` voxels from their centre.

    Example:
        >>> centred(4).tolist()
        [-1.5, -0.5, 0.5, 1.5]
    """
    return np.arange(side) - (side - 1) / 2


def _composed(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Matrices (..., 2, 3) of `outer` applied to what `inner` gives."""
    composed: np.ndarray = outer[..., :2] @ inner
    composed[..., 2] += outer[..., 2]
    return composed


def _composed_along_z(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Scales and offsets (n, 2) of `outer` applied to what `inner` gives."""
    return np.stack([outer[:, 0] * inner[:, 0], outer[:, 0] * inner[:, 1] + outer[:, 1]], axis=1)
