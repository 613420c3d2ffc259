"""Instances of a class: its connected pieces, cut at their necks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveFloat

from cristae.data.box import Box
from cristae.metrics.components import Connectivity
from cristae.postprocessing.form import LabelMaps
from cristae.postprocessing.necks import cut_mask
from cristae.postprocessing.split import SplitStep


class SplitTouching(SplitStep):
    """Number the objects of each chosen class, and cut those that touch at their necks.

    The class map stays as it is; an image of instances is written beside it. Each object is cut in its own box, by a
    watershed of the distance to its surface, so the result does not depend on blocks. Objects are numbered by their
    first voxel; the first piece of a cut object keeps its number, the others take new ones after all those that were
    there, object by object. Cutting takes 128 bytes for each voxel of the box.
    """

    name: Literal["split_touching"] = "split_touching"
    depth_nm: PositiveFloat | None = None
    """A neck is cut when both sides are thicker than it by more than this, measured as distance from the middle to the
    surface; None takes the longest edge of a voxel."""
    connectivity: Literal[6, 18, 26] = 26
    """Neighbours that join voxels to one object: across faces (6), edges too (18), corners too (26)."""

    @property
    def bytes_per_voxel(self) -> int:
        """Of masks, distances and the queue of the watershed."""
        return 128

    @property
    def joins(self) -> Connectivity:
        """As its field says."""
        return self.connectivity

    def needs_voxel_size(self) -> bool:
        """Thickness is measured in nm."""
        return True

    def cut(self, mask: np.ndarray, box: Box, maps: LabelMaps, class_name: str) -> np.ndarray:
        """See the class; where the volume ends, the object may go on."""
        size = self.require_voxel_size(maps)
        ends = [(a == 0, b == edge) for a, b, edge in zip(box.start, box.stop, maps.shape, strict=True)]
        return cut_mask(mask, size, self.depth_nm or max(size), open_sides=np.array(ends))
