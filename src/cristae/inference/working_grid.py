"""The grid of voxels that the networks work on: that of the image, or one of another voxel size and results back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize
from cristae.inference.held_out import MemberPart
from cristae.inference.predictor import Member, Predictor
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.resample import Grid, needed_box, resample_array, resample_image


@dataclass(frozen=True, eq=False)
class WorkingGrid:
    """Pairs an image with what the networks read. Boxes are in voxels of `source` unless said otherwise."""

    source: Image
    working: Image
    """`source` itself, or resampled to the voxel size that the networks were trained at."""

    @property
    def read(self) -> Image:
        """What blocks read."""
        return self.working

    @property
    def resampled(self) -> bool:
        """Whether the networks work at another voxel size."""
        return self.working is not self.source

    @property
    def scale(self) -> tuple[float, float, float]:
        """Working voxels along one voxel of the image (z, y, x)."""
        if not self.resampled:
            return 1.0, 1.0, 1.0
        source, working = _grid(self.source).voxel_size_nm, _grid(self.working).voxel_size_nm
        return source[0] / working[0], source[1] / working[1], source[2] / working[2]

    @property
    def working_voxel_size_nm(self) -> VoxelSize | None:
        """What the image is resampled to; None when it is taken as it is."""
        return self.working.voxel_size_nm if self.resampled else None

    def wanted(self, core: Box) -> Box:
        """The working voxels whose probabilities decide those of `core`."""
        if not self.resampled:
            return core
        return needed_box(core, _grid(self.source), _grid(self.working), "linear")

    def source_box(self, working: Box) -> Box:
        """The voxels of the image that decide those of a working box."""
        return needed_box(working, _grid(self.working), _grid(self.source), "linear") if self.resampled else working

    def from_source(self, raw: np.ndarray, known: Box, working: Box) -> np.ndarray:
        """Grey values (Z, Y, X) of a working box, from those of the image in a box that holds `source_box` of it."""
        source = self.source_box(working)
        found = raw[source.relative_to(known.start).slices]
        if not self.resampled:
            return found
        return resample_array(found, source, _grid(self.source), working, _grid(self.working), method="linear")

    def back(self, found: Tensor, wanted: Box, core: Box) -> Tensor:
        """Probabilities (K, Z, Y, X) of `core`, from those of the working box `wanted(core)`."""
        if not self.resampled:
            return found
        values, grids = found.cpu().numpy(), (_grid(self.working), _grid(self.source))
        return torch.from_numpy(resample_array(values, wanted, grids[0], core, grids[1], method="linear"))

    def input_box(self, predictor: Predictor, core: Box) -> Box:
        """The working voxels that must be read to predict those."""
        parts = predictor.parts(core)
        return Box.around([predictor.input_box(self.wanted(p.box), self.working.shape, p.groups) for p in parts])

    def input_voxels(self, predictor: Predictor, core: Box) -> int:
        """Voxels that the networks of all members and variants take in for a box."""
        return sum(self.voxels_of(member, core) for member in predictor.members)

    def voxels_of(self, member: Member, core: Box) -> int:
        """The same of one member."""
        wanted, shape = self.wanted(core), self.working.shape
        return sum(member.inner_input(wanted, shape, variant).size for variant in member.variants)

    def seen(self, predictor: Predictor, raw: np.ndarray, core: Box) -> Iterator[Seen]:
        """What the members are shown, of the grey values of `input_box`: all the same."""
        first = self.input_box(predictor, core).start[0]
        yield Seen(raw, first, tuple(member.normalizer for member in predictor.members))

    def probabilities(self, predictor: Predictor, raw: np.ndarray, core: Box) -> Tensor:
        """What `predictor.compute` gives for `core` (K, Z, Y, X), from the grey values (Z, Y, X) of `input_box`."""
        known = self.input_box(predictor, core)
        return in_parts(predictor.parts(core), core, partial(self._of_part, predictor, raw, known))

    def _of_part(self, predictor: Predictor, raw: np.ndarray, known: Box, part: MemberPart) -> Tensor:
        wanted = self.wanted(part.box)
        return self.back(predictor.compute(raw, known, wanted, self.working.shape, part.groups), wanted, part.box)


@dataclass(frozen=True, eq=False)
class Seen:
    """Grey values that members are shown for a block."""

    raw: np.ndarray
    """(Z, Y, X), or with filtered copies (C, Z, Y, X)."""
    first_slice: int
    """Which slice of the members' grid the first Z is."""
    normalizers: tuple[Normalizer, ...]


def in_parts(parts: Sequence[MemberPart], core: Box, of_part: Callable[[MemberPart], Tensor]) -> Tensor:
    """Probabilities (K, Z, Y, X) of a box, put together from its parts."""
    if len(parts) == 1:
        return of_part(parts[0])
    result: Tensor | None = None
    for part in parts:
        found = of_part(part)
        result = found.new_empty((len(found), *core.shape)) if result is None else result
        result[(slice(None), *part.box.relative_to(core.start).slices)] = found
    assert result is not None, "a block has voxels"
    return result


def working_grid_at(image: Image, voxel_size_nm: VoxelSize | None) -> WorkingGrid:
    """The grid of `image` at a working voxel size; None, or its own size, leaves the image as it is."""
    return WorkingGrid(image, image if voxel_size_nm is None else resample_image(image, voxel_size_nm, method="linear"))


def _grid(image: Image) -> Grid:
    assert image.voxel_size_nm is not None, "a resampled image knows its voxel size"
    return Grid(image.shape, image.voxel_size_nm)
