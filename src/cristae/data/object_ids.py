"""Object ids as files hold them: which of them are objects, which is background, and which were not annotated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box
from cristae.data.description import InstanceLabels
from cristae.data.image import Image
from cristae.data.label_sources import LabelSource, Segment
from cristae.data.values import (
    UNLABELLED_CODE,
    Context,
    ValueTable,
    packed_colors,
    table_of_unlabelled,
    whole_numbers,
)
from cristae.errors import LabelError

# 2^64 - 1 to 2^64 - 3 are 'invalid', 'transparent' and 'outside' in BigCAT, Paintera and the CREMI volumes.
_MARKS = {"u8": 2**64 - 3, "i8": 2**63 - 1, "u4": 2**32 - 1, "i4": 2**31 - 1}
"""From which id on, by type, an id most often means: not annotated."""


def is_usual_mark(value: int, dtype: np.dtype) -> bool:
    """Whether an id of a file of this type most often means that a voxel was not annotated."""
    return value < 0 or value >= _MARKS.get(f"{dtype.kind}{dtype.itemsize}", 2**64)


@dataclass(frozen=True, eq=False)
class ObjectIds:
    """The ids of a label source."""

    source: LabelSource
    config: InstanceLabels
    background: ValueTable
    unlabelled: ValueTable
    context: Context

    @classmethod
    def of(cls, source: LabelSource, config: InstanceLabels, *, name: str) -> ObjectIds:
        """The ids of the volume `name` as its recipe describes them.

        Raises:
            LabelError: A list mixes numbers and colours, or its ranges overlap.
        """
        where = f"labels of '{name}'"
        background = table_of_unlabelled(config.background, where=f"{where}: background")
        unlabelled = table_of_unlabelled(config.unlabelled or (), where=f"{where}: unlabelled")
        context = Context(where, f"Say so under data.volumes.{name}.labels:")
        return cls(source, config, background, unlabelled, context)

    @property
    def may_be_unknown(self) -> bool:
        """Whether voxels of labelled slices may be not annotated."""
        return self.config.zero == "unlabelled" or bool(self.config.unlabelled)

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Unsigned ids (Z, Y, X), 0 where there is no object, and bool (Z, Y, X), false where nothing was annotated.

        Raises:
            LabelError: An id is no whole number, or is one that most often means 'not annotated' and nothing says so.
        """
        pieces = [(segment.z - box.start[0], *self._read_segment(segment)) for segment in self.source.segments(box)]
        whole = np.zeros(box.shape, np.result_type(np.uint8, *(ids.dtype for _, ids, _ in pieces)))
        known = np.zeros(box.shape, bool)
        for z, ids, annotated in pieces:
            whole[z : z + len(ids)] = ids
            known[z : z + len(ids)] = annotated
        return whole, known

    def _read_segment(self, segment: Segment) -> tuple[np.ndarray, np.ndarray]:
        file = segment.file
        voxels = file.read(segment.box)
        if file.colors > 1:
            ids = packed_colors(voxels, file, self.context) >> 8
        else:
            ids = whole_numbers(voxels, file, self.context)
        unknown = self._listed(self.unlabelled, ids, voxels, file)
        empty = unknown | self._listed(self.background, ids, voxels, file)
        if self.config.zero == "unlabelled":
            unknown |= ids == 0
        if empty.any():
            ids = np.where(empty, ids.dtype.type(0), ids)
        if file.colors == 1:
            self._require_meaning(ids, segment)
        return (ids.view(f"u{ids.dtype.itemsize}") if ids.dtype.kind == "i" else ids), ~unknown

    def _listed(self, table: ValueTable, ids: np.ndarray, voxels: np.ndarray, file: Image) -> np.ndarray:
        if not table.rows:
            return np.zeros(ids.shape, bool)
        values = packed_colors(voxels, file, self.context) if table.kind == "colors" else ids
        listed: np.ndarray = table.encode(values) == UNLABELLED_CODE
        return listed

    def _require_meaning(self, ids: np.ndarray, segment: Segment) -> None:
        if self.config.unlabelled is not None or not ids.size:
            return
        for value in (int(ids.min()), int(ids.max())):
            if is_usual_mark(value, ids.dtype):
                raise LabelError(
                    f"{self.context.where}: {segment.file.path} holds the id {value}, which most often marks voxels "
                    f"that were not annotated (first looked for in slice {segment.z}).\n  {self.context.cure} "
                    f"`unlabelled: [{value}]`, or `unlabelled: []` if every id is an object."
                )
