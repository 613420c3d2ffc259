"""Members of an ensemble that work at voxel sizes of their own: one read of the volume for all of them, and one write.

A block's grey values are read once, at the volume's own voxel size. Each member gets them on its own grid, and its
probabilities come back to the volume's as they do when it predicts alone; there they are fused. Every value depends on
its own place only, so blocks agree with the whole here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize
from cristae.inference.disagreement import Disagreement
from cristae.inference.held_out import MemberPart
from cristae.inference.predictor import Predictor
from cristae.inference.working_grid import Seen, WorkingGrid, in_parts, working_grid_at


@dataclass(frozen=True, eq=False)
class OwnGrids:
    """The grid of each member, by its place. Boxes are in voxels of the volume."""

    grids: tuple[WorkingGrid, ...]

    @property
    def source(self) -> Image:
        """The volume."""
        return self.grids[0].source

    @property
    def read(self) -> Image:
        """What blocks read: the volume as it is."""
        return self.source

    def input_box(self, predictor: Predictor, core: Box) -> Box:
        """The voxels of the volume that must be read to predict those."""
        boxes = [self.grids[place].source_box(needed) for _, place, needed in self._needs(predictor, core)]
        return Box.around([core, *boxes])

    def input_voxels(self, predictor: Predictor, core: Box) -> int:
        """Voxels that the networks of all members and variants take in for a box."""
        return sum(grid.voxels_of(one, core) for grid, one in zip(self.grids, predictor.members, strict=True))

    def seen(self, predictor: Predictor, raw: np.ndarray, core: Box) -> Iterator[Seen]:
        """What each member is shown, of the grey values of `input_box`."""
        known = self.input_box(predictor, core)
        for _, place, needed in self._needs(predictor, core):
            shown = self.grids[place].from_source(raw, known, needed)
            yield Seen(shown, needed.start[0], (predictor.members[place].normalizer,))

    def probabilities(self, predictor: Predictor, raw: np.ndarray, core: Box) -> Tensor:
        """What `predictor.compute` gives for `core` (K, Z, Y, X), from the grey values (Z, Y, X) of `input_box`."""
        known = self.input_box(predictor, core)
        return in_parts(predictor.parts(core), core, partial(self._of_part, predictor, raw, known))

    def _of_part(self, predictor: Predictor, raw: np.ndarray, known: Box, part: MemberPart) -> Tensor:
        """Members that are fused are so on the volume's grid. One that is alone in its group gives what it gives by
        itself."""
        found = []
        for group in part.groups:
            if len(group) == 1:
                grid = self.grids[group[0]]
                wanted, needed, shown = self._shown(predictor, group[0], raw, known, part.box)
                alone = predictor.compute(shown, needed, wanted, grid.working.shape, (group,))
                found.append(grid.back(alone, wanted, part.box).cpu())
            else:
                one = partial(self._of_member, predictor, raw, known, part.box)
                found.append(predictor.fused(one, (group,)))
        if len(found) == 1:
            return found[0]
        if not predictor.disagreement:
            return torch.cat(found)
        between = torch.stack([one[-1] for one in found]).amax(0, keepdim=True)
        return torch.cat([*(one[:-1] for one in found), between])

    def _of_member(
        self, predictor: Predictor, raw: np.ndarray, known: Box, box: Box, place: int, between: Disagreement | None
    ) -> Tensor:
        grid = self.grids[place]
        wanted, needed, shown = self._shown(predictor, place, raw, known, box)
        found = predictor.of_member(place, shown, needed, wanted, grid.working.shape, between)
        return grid.back(found, wanted, box).cpu()

    def _shown(
        self, predictor: Predictor, place: int, raw: np.ndarray, known: Box, box: Box
    ) -> tuple[Box, Box, np.ndarray]:
        """What a member predicts for a box, what it needs for that, both on its grid, and the grey values of that."""
        grid = self.grids[place]
        wanted = grid.wanted(box)
        needed = predictor.input_box(wanted, grid.working.shape, ((place,),))
        return wanted, needed, grid.from_source(raw, known, needed)

    def _needs(self, predictor: Predictor, core: Box) -> Iterator[tuple[Box, int, Box]]:
        """For each part and member that predicts it: the part, the member, and what it needs on its own grid."""
        for part in predictor.parts(core):
            for place in (place for group in part.groups for place in group):
                grid = self.grids[place]
                wanted = grid.wanted(part.box)
                yield part.box, place, predictor.input_box(wanted, grid.working.shape, ((place,),))


Grids = WorkingGrid | OwnGrids
"""How networks see a volume: all on one grid, or each on its own."""


def grids_at(image: Image, sizes: Sequence[VoxelSize | None]) -> tuple[WorkingGrid, ...]:
    """The grid of each member at its working voxel size; those of the same size share one."""
    made = {size: working_grid_at(image, size) for size in dict.fromkeys(sizes)}
    return tuple(made[size] for size in sizes)


def together(grids: Sequence[WorkingGrid]) -> Grids:
    """The one grid that all members share, or the grids of members that differ."""
    return grids[0] if all(grid is grids[0] for grid in grids) else OwnGrids(tuple(grids))
