"""How far two surfaces lie apart, in nm: Hausdorff distance, its 95th percentile, average distance, surface Dice.

**Surface.** The surface of a mask is its voxels with a face neighbour (4 in a plane, 6 in a volume) that is
background. With `closed`, what lies outside the volume, or is not valid, counts as background: an object cut by the
volume's border has a surface along the cut, as in MONAI, MedPy and DeepMind's surface-distance. Truth and prediction
are cut at the same place, so they agree about most of it, which lowers the averages and raises the surface Dice; in a
stack of four slices nearly every voxel is such a surface. `evaluate` therefore leaves surfaces open where the volume
ends. A volume of one slice is a plane: only neighbours and distances in y and x count.

**Distance.** Each surface voxel has the distance in nm between its centre and the centre of the nearest surface voxel
of the other map, with the volume's own voxel size (z, y, x). This gives two lists, from truth to prediction and back.
DeepMind's surface-distance has other surface elements, between voxels, and weighs them by area; its values
differ, most on small or strongly anisotropic objects.

**Scores.** HD is the largest of all distances. HD95 is the larger of the two lists' 95th percentiles, interpolated
linearly between ranks, as in MONAI; MedPy instead takes one percentile of both lists together. ASD is the mean
over both lists together, as MONAI's symmetric average; the mean of the two lists' means is another number where
surfaces differ in size. NSD, the surface Dice, is the share of the voxels of both lists within a tolerance (Nikolov et
al., 2021, https://doi.org/10.2196/26151, with voxels instead of areas); the boundary F1 is the harmonic mean of the two
lists' shares (Csurka et al., 2013, https://doi.org/10.5244/C.27.32). Which of them to use when: Reinke et al. (2024),
https://doi.org/10.1038/s41592-023-02150-0.

**Nothing on one side.** Without a surface in either map every score is NaN. A surface without any counterpart has no
distance: it counts as infinitely far, so HD, HD95 and ASD are NaN, NSD and boundary F1 are 0. In a sum over slices or
volumes, one such part makes the distances of the sum NaN; `matched` leaves it out, `unmatched` says how much it was.

Distances are exact, and equal whichever blocks a volume is read in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box
from cristae.data.image import VoxelSize
from cristae.errors import ScoreError, VoxelSizeError
from cristae.metrics.bricks import Bricks, brick_bits, nearest_squares
from cristae.metrics.masks import Reader, filled_box, read_mask

ROUNDING = 1e-9
"""Share by which a distance may exceed the tolerance, so that 3 voxels of 5.9 nm are within 17.7 nm."""
UNTIDY = 1 << 20
"""Values that are put aside before equal ones are merged."""


@dataclass(frozen=True, eq=False)
class Distances:
    """From each surface voxel of one map to the nearest of the other: distinct values and how often each occurs."""

    nm: np.ndarray
    """(N,) float64, rising; infinite for voxels without any counterpart."""
    voxels: np.ndarray
    """(N,) int64, greater than 0."""

    @classmethod
    def of(cls, nm: np.ndarray, voxels: np.ndarray | None = None) -> Distances:
        """Merge equal distances in nm; each stands for one voxel, or for `voxels`."""
        order = np.argsort(nm, kind="stable")
        nm, counts = nm[order], np.ones(len(nm), np.int64) if voxels is None else voxels[order]
        first = np.flatnonzero(np.concatenate([[True], nm[1:] != nm[:-1]])[: len(nm)])
        return cls(nm[first], np.add.reduceat(counts, first) if len(first) else counts)

    def __add__(self, other: Distances) -> Distances:
        return Distances.total([self, other])

    @classmethod
    def total(cls, parts: Iterable[Distances]) -> Distances:
        """All distances of several parts."""
        every = list(parts) or [cls.of(np.zeros(0))]
        return cls.of(np.concatenate([part.nm for part in every]), np.concatenate([part.voxels for part in every]))

    @property
    def n(self) -> int:
        """Surface voxels, those without a counterpart included."""
        return int(self.voxels.sum())

    @property
    def unmatched(self) -> int:
        """Surface voxels without any counterpart."""
        return int(self.voxels[np.isinf(self.nm)].sum())

    @property
    def matched(self) -> Distances:
        """Those that are finite."""
        finite = np.isfinite(self.nm)
        return Distances(self.nm[finite], self.voxels[finite])

    @property
    def sum_nm(self) -> float:
        """Sum over all voxels."""
        return math.fsum(self.nm * self.voxels)

    def within(self, tolerance_nm: float) -> int:
        """Voxels no farther than the tolerance."""
        return int(self.voxels[self.nm <= tolerance_nm * (1 + ROUNDING)].sum())

    def percentile(self, share: float) -> float:
        """Value in nm below which a share of the voxels lies, interpolated linearly between ranks; NaN for none.

        Example:
            >>> Distances.of(np.array([0.0, 0.0, 10.0, 30.0])).percentile(0.75)
            15.0
        """
        if self.n == 0:
            return float("nan")
        rank = share * (self.n - 1)
        ends = np.cumsum(self.voxels)
        low, high = self.nm[np.searchsorted(ends, [math.floor(rank), math.ceil(rank)], side="right")]
        return float(low if low == high else low + (rank - math.floor(rank)) * (high - low))


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between the surfaces of two maps, both ways. They add with `+`, over slices or volumes."""

    truth_to_prediction: Distances
    prediction_to_truth: Distances

    def __add__(self, other: SurfaceDistances) -> SurfaceDistances:
        return SurfaceDistances.total([self, other])

    @classmethod
    def total(cls, parts: Iterable[SurfaceDistances]) -> SurfaceDistances:
        """The distances of several slices or volumes together."""
        every = list(parts)
        return cls(
            Distances.total(part.truth_to_prediction for part in every),
            Distances.total(part.prediction_to_truth for part in every),
        )

    @property
    def both(self) -> tuple[Distances, Distances]:
        """From truth to prediction, and back."""
        return self.truth_to_prediction, self.prediction_to_truth

    @property
    def n(self) -> int:
        """Surface voxels of both maps."""
        return sum(one.n for one in self.both)

    @property
    def unmatched(self) -> int:
        """Surface voxels of slices or volumes in which the other map has no surface."""
        return sum(one.unmatched for one in self.both)

    @property
    def matched(self) -> SurfaceDistances:
        """Without the unmatched ones."""
        return SurfaceDistances(self.truth_to_prediction.matched, self.prediction_to_truth.matched)


def hausdorff(distances: SurfaceDistances) -> float:
    """Largest distance in nm; NaN unless all surfaces have a counterpart."""
    return max(one.nm[-1].item() for one in distances.both) if _comparable(distances) else float("nan")


def hausdorff_95(distances: SurfaceDistances) -> float:
    """The larger 95th percentile of the two directions, in nm; NaN unless all surfaces have a counterpart."""
    return max(one.percentile(0.95) for one in distances.both) if _comparable(distances) else float("nan")


def average_distance(distances: SurfaceDistances) -> float:
    """Mean distance in nm over the surface voxels of both maps; NaN unless all surfaces have a counterpart."""
    return sum(one.sum_nm for one in distances.both) / distances.n if _comparable(distances) else float("nan")


def surface_dice(distances: SurfaceDistances, tolerance_nm: float) -> float:
    """Share of the surface voxels of both maps within the tolerance of the other's surface; NaN without any.

    Raises:
        ScoreError: The tolerance is negative or not finite.
    """
    check_tolerance(tolerance_nm)
    return sum(one.within(tolerance_nm) for one in distances.both) / distances.n if distances.n else float("nan")


def boundary_f1(distances: SurfaceDistances, tolerance_nm: float) -> float:
    """Harmonic mean of the shares of the true and of the predicted surface within the tolerance; NaN without any.

    Raises:
        ScoreError: The tolerance is negative or not finite.
    """
    check_tolerance(tolerance_nm)
    if distances.n == 0:
        return float("nan")
    recall, precision = (one.within(tolerance_nm) / one.n if one.n else 0.0 for one in distances.both)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def surface_distances(
    read_truth: Reader,
    read_prediction: Reader,
    blocks: Sequence[Box],
    voxel_size_nm: VoxelSize | None,
    *,
    read_valid: Reader | None = None,
    closed: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> SurfaceDistances:
    """Distances between the surfaces of two maps that are read block by block.

    Memory: a block and some copies of it; about 3 bytes for each surface voxel of both maps (twice that while the
    blocks of one are joined); the distinct distances, which are few unless most objects are missed.

    Args:
        read_truth: Gives the voxels (Z, Y, X) of a box, integers or booleans, foreground where not 0. The box is a
            block and its neighbours at one voxel's distance, as far as the blocks reach.
        read_prediction: The same of the prediction.
        blocks: Disjoint boxes that together fill one box, in any grid and order. Of one slice: a plane.
        voxel_size_nm: Edges (z, y, x); z has no influence on a plane.
        read_valid: The same, 0 where a voxel does not count.
        closed: Whether objects have a surface where the volume, or what is valid of it, ends.
        advance: Called when a block has been read; the search, which follows, is not counted.

    Raises:
        ScoreError: Blocks overlap or leave gaps, or what is read has another shape or holds floats.
        VoxelSizeError: The voxel size is unknown or not positive.

    Example:
        >>> truth, prediction = np.array([[[1, 1, 0, 0]]]), np.array([[[1, 1, 1, 0]]])
        >>> readers = (lambda box: truth[box.slices]), (lambda box: prediction[box.slices])
        >>> found = surface_distances(*readers, [Box((0, 0, 0), (1, 1, 4))], (40.0, 5.0, 5.0))
        >>> hausdorff(found), average_distance(found), surface_dice(found, tolerance_nm=0)
        (5.0, 1.0, 0.8)
    """
    size = _known_size(voxel_size_nm)
    whole = filled_box(blocks)
    bits = brick_bits(whole.shape, size)
    parts: tuple[list[Bricks], list[Bricks]] = ([], [])
    for block in blocks:
        wide = block.grow((1, 1, 1)).intersect(whole)
        valid = None if read_valid is None else read_mask(read_valid, wide, "the valid mask")
        for kept, reader, what in zip(parts, (read_truth, read_prediction), ("truth", "prediction"), strict=True):
            mask = read_mask(reader, wide, what)
            known = np.ones(mask.shape, bool) if valid is None else valid
            surface = _surface(mask & known, known, wide, block, flat=whole.shape[0] == 1, closed=closed)
            kept.append(Bricks.of_mask(surface, block, bits))
        advance()
    truth, prediction = (Bricks.joined(kept, bits) for kept in parts)
    return SurfaceDistances(_directed(truth, prediction, size), _directed(prediction, truth, size))


def _directed(points: Bricks, others: Bricks, size: VoxelSize) -> Distances:
    if len(points) and not len(others):
        return Distances(np.array([np.inf]), np.array([len(points)]))
    done, fresh = Distances.of(np.zeros(0)), []
    for squares in nearest_squares(points, others, size) if len(points) else ():
        fresh.append(Distances.of(np.sqrt(squares)))
        if sum(len(part.nm) for part in fresh) > max(UNTIDY, len(done.nm)):
            done, fresh = Distances.total([done, *fresh]), []
    return Distances.total([done, *fresh])


def _surface(mask: np.ndarray, known: np.ndarray, wide: Box, block: Box, *, flat: bool, closed: bool) -> np.ndarray:
    """The surface voxels of `block`, from the mask of the `wide` box round it, and where that is known."""
    padded = np.full(block.grow((1, 1, 1)).shape, closed)
    padded[wide.relative_to(block.grow((1, 1, 1)).start).slices] = ~mask if closed else ~mask & known
    outside = np.zeros(block.shape, bool)
    for axis in (1, 2) if flat else (0, 1, 2):
        for side in (slice(None, -2), slice(2, None)):
            outside |= padded[tuple(side if a == axis else slice(1, -1) for a in range(3))]
    surface: np.ndarray = mask[block.relative_to(wide.start).slices] & outside
    return surface


def _known_size(voxel_size_nm: VoxelSize | None) -> VoxelSize:
    if voxel_size_nm is None:
        raise VoxelSizeError(
            "distances between surfaces are in nm, but the voxel size is unknown; state its edges (z, y, x) in nm, "
            "such as 40, 5.9, 5.9"
        )
    if not all(math.isfinite(edge) and edge > 0 for edge in voxel_size_nm):
        raise VoxelSizeError(f"voxel size {voxel_size_nm} nm (z, y, x): every edge must be greater than 0")
    return voxel_size_nm


def _comparable(distances: SurfaceDistances) -> bool:
    return distances.unmatched == 0 and all(one.n for one in distances.both)


def check_tolerance(tolerance_nm: float) -> None:
    if not (math.isfinite(tolerance_nm) and tolerance_nm >= 0):
        raise ScoreError(f"a tolerance is a length in nm that is not negative, got {tolerance_nm:g}")
