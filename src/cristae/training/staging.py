"""The annotated parts of the training volumes, laid out on disk for quick random reading.

Image and target of a part become the channels of one sharded Zarr array on the working grid: a patch is then a single
small read, whatever format, compression, label source and voxel size the data came in. The image reaches beyond the
part as far as patches look; there the target is invalid. Staging streams, counts classes and remembers places of each
class as it goes, and is done once for a run.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.files import storage_errors, write_json
from cristae.data.formats.zarr_arrays import array_metadata, find_node, open_array, read_block, write_block
from cristae.data.image import Image, VoxelSize, same_voxel_size
from cristae.data.mirror import read_mirrored
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.errors import RunError
from cristae.preprocess.resample import resample_volume
from cristae.progress import Progress
from cristae.sampling import Patch, SamplePart
from cristae.training.framing import Framing

INVALID = 255
"""Target value of voxels that do not count."""
MAX_PLACES = 20_000
"""Places remembered for each class of a part."""
_CHUNK: dict[bool, Triple] = {True: (1, 256, 256), False: (16, 64, 64)}
"""Voxels that are decoded at once, for flat patches and for others."""
_SHARD: dict[bool, Triple] = {True: (1, 2048, 2048), False: (16, 1024, 1024)}
_SLAB: dict[bool, Triple] = {True: (4, 2048, 2048), False: (16, 1024, 1024)}
"""Voxels that are staged at once: whole shards, each written once."""
_CACHE_BYTES = min(2 << 30, psutil.virtual_memory().total // 8)
"""Decoded patches that stay in memory."""


@dataclass(frozen=True, eq=False)
class StagedPart:
    """One annotated box on disk, ready to be cut into patches."""

    folder: Path
    volume: str
    origin: Triple
    """Where the part starts in its volume, in voxels of the working grid."""
    shape: Triple
    stored: Box
    """The voxels on disk, in its volume: the part and what patches see around it."""
    volume_shape: Triple
    class_counts: np.ndarray
    """(K,) int64, as in SamplePart."""
    fully_valid: bool
    masks: bool
    """Whether the target has a channel for each class."""
    background: bool
    """Whether id 0 means that there is no structure."""
    sha256: str
    """Hash of the grey values and labels on disk."""

    @classmethod
    def open(cls, folder: Path) -> StagedPart:
        """Open what `stage` wrote."""
        facts = json.loads((folder / "part.json").read_text())
        return cls(
            folder=folder,
            volume=facts["volume"],
            origin=tuple(facts["origin"]),
            shape=tuple(facts["shape"]),
            stored=Box(tuple(facts["stored"][0]), tuple(facts["stored"][1])),
            volume_shape=tuple(facts["volume_shape"]),
            class_counts=np.array(facts["class_counts"], np.int64),
            fully_valid=facts["fully_valid"],
            masks=facts["masks"],
            background=facts.get("background", True),
            sha256=facts["sha256"],
        )

    @cached_property
    def _stack(self) -> Any:
        return _open(self.folder / "stack")

    @cached_property
    def _weight(self) -> Any | None:
        return _open(self.folder / "weight") if (self.folder / "weight").exists() else None

    @cached_property
    def class_voxels(self) -> tuple[np.ndarray, ...]:
        """For each class a sample of the (N, 3) places where it is."""
        found = np.load(self.folder / "places.npz", allow_pickle=False)
        return tuple(found[f"class_{k}"] for k in range(len(self.class_counts)))

    def sample_part(self) -> SamplePart:
        """What a sampler needs to know."""
        return SamplePart(
            self.shape,
            self.class_counts,
            self.class_voxels,
            self._has_foreground,
            self._has_valid,
            self.fully_valid,
            first_foreground=int(self.background),
        )

    def _has_valid(self, box: Box) -> bool:
        return bool(np.any(np.all(self._targets(box) != INVALID, axis=0)))

    def _has_foreground(self, box: Box) -> bool:
        target = self._targets(box)
        return bool(np.any((target >= int(self.background)) & (target != INVALID)))

    def _targets(self, box: Box) -> np.ndarray:
        """(K, Z, Y, X) of a box inside the part, counted from its corner."""
        return self._stored(box.shift(self.origin))[1:]

    def _stored(self, box: Box) -> np.ndarray:
        """Image and targets (1 + K, Z, Y, X) of a box of the volume that is on disk."""
        return read_block(self._stack, (slice(None), *box.relative_to(self.stored.start).slices), self.folder)

    def label_blocks(self) -> Iterator[np.ndarray]:
        """uint8 labels (K, Z, Y, X) in blocks that cover the part once, INVALID where a voxel does not count."""
        for block in Box.of_shape(self.shape).blocks(_SLAB[False]):
            yield self._targets(block).astype(np.uint8)

    def read(self, box: Box, framing: Framing) -> Patch:
        """Cut out a patch; what reaches outside the part does not count, and beyond the volume its image is mirrored.

        Args:
            box: Voxels of the target, counted from the part's corner; it may reach outside.
            framing: How much image is around them.
        """
        place = box.shift(self.origin)
        stack = read_mirrored(self._stored, place.grow(framing.context), self.volume_shape)
        centre = tuple(slice(a, a + n) for a, n in zip(framing.context, box.shape, strict=True))
        target = self._outside_invalid(stack[(slice(1, None), *centre)].astype(np.uint8, copy=False), box)
        weight = self._weights(box)
        image = stack[:1]
        if framing.flat:  # the slices of the image become channels
            image, target = image[0], target[:, 0]
            weight = None if weight is None else weight[0]
        valid = np.all(target != INVALID, axis=0)
        target = np.where(valid, target, np.uint8(0))
        return Patch(
            image=image,
            target=target if self.masks else target[0],
            valid=valid,
            weight=weight,
            box=place,
            volume=self.volume,
        )

    def _outside_invalid(self, target: np.ndarray, box: Box) -> np.ndarray:
        """A target (K, Z, Y, X), possibly mirrored, with nothing that counts outside the part."""
        inside = box.intersect(Box.of_shape(self.shape))
        if inside == box:
            return target
        result = np.full_like(target, INVALID)
        where = (slice(None), *inside.relative_to(box.start).slices)
        result[where] = target[where]
        return result

    def _weights(self, box: Box) -> np.ndarray | None:
        """The volume's own weights (Z, Y, X), 0 outside the part; None when it has none."""
        if self._weight is None:
            return None
        inside = box.intersect(Box.of_shape(self.shape))
        result = np.zeros(box.shape, np.float32)
        result[inside.relative_to(box.start).slices] = read_block(self._weight, inside.slices, self.folder)
        return result


def stage(
    parts: Sequence[Part], classes: Classes, folder: Path, framing: Framing, *, size: Triple, progress: Progress
) -> tuple[StagedPart, ...]:
    """Lay out the annotated boxes of `parts` below `folder`; what an earlier call finished is kept.

    Args:
        parts: Regions with labels, on the working grid (see `on_working_grid`).
        classes: Whether labels are ids or masks.
        folder: Made when missing.
        framing: Flat patches need only the slices that have labels, others whole regions; how much image is around.
        size: The patches' (z, y, x); around parts that are smaller more of the image is needed.
        progress: Where to show how far it is.
    """
    jobs = [(part, box) for part in parts for box in (labelled_boxes(part) if framing.flat else (part.box,))]
    staged = []
    with progress.task("Staging training data", sum(box.size for _, box in jobs), unit="voxels") as task:
        for number, (part, box) in enumerate(jobs):
            place = folder / f"{number:04d}"
            if not (place / "part.json").exists():
                _stage_one(part.volume, box, _around(box, part.volume, framing, size), classes, framing.flat, place)
            staged.append(StagedPart.open(place))
            task.advance(box.size, note=part.volume.name)
    return tuple(staged)


def on_working_grid(part: Part, working: VoxelSize | None, *, flat: bool) -> Part:
    """The same region of the volume resampled to the working voxel size; networks that see single slices keep them."""
    own = part.volume.voxel_size_nm
    if own is None or working is None:
        return part
    size = (own[0], working[1], working[2]) if flat else working
    if same_voxel_size(own, size):
        return part
    volume = resample_volume(part.volume, size)
    return Part(volume, _inside(part.box, own, size).intersect(Box.of_shape(volume.image.shape)))


def _inside(box: Box, source: VoxelSize, target: VoxelSize) -> Box:
    """The voxels of the target grid that lie wholly inside `box` of the source grid."""
    # A hundredth of a voxel absorbs the rounding of the division.
    start = [math.ceil(a * s / t - 0.01) for a, s, t in zip(box.start, source, target, strict=True)]
    stop = [math.floor(b * s / t + 0.01) for b, s, t in zip(box.stop, source, target, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _around(box: Box, volume: Volume, framing: Framing, size: Triple) -> Box:
    """What patches of this size on a part can see of its volume."""
    beyond = [max(0, -(-(s - n) // 2)) for s, n in zip(size, box.shape, strict=True)]
    reach = [a + b for a, b in zip(framing.context, beyond, strict=True)]
    return box.grow(reach).intersect(Box.of_shape(volume.image.shape))


def _stage_one(volume: Volume, box: Box, stored: Box, classes: Classes, flat: bool, folder: Path) -> None:
    dtype = np.dtype(np.int16) if volume.image.dtype == np.int8 else volume.image.dtype
    with storage_errors(folder):
        if folder.is_file():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stack = _create(folder / "stack", (1 + len(volume.labels), *stored.shape), dtype, flat)
    index, content = _ClassIndex(classes), hashlib.sha256()
    for block in stored.blocks(_SLAB[flat]):
        image, target = volume.image.read(block), np.full((len(volume.labels), *block.shape), INVALID, np.uint8)
        inside = block.intersect(box)
        if inside.size:
            known = _targets_of(volume, inside)
            index.add(known, inside.relative_to(box.start))
            target[(slice(None), *inside.relative_to(block.start).slices)] = known
        content.update(np.ascontiguousarray(image).tobytes())
        content.update(target.tobytes())
        both = np.concatenate([image[None], target], dtype=dtype, casting="unsafe")
        write_block(stack, (slice(None), *block.relative_to(stored.start).slices), both, folder)
    if volume.weight is not None:
        _stage_weight(volume.weight, box, flat, folder)
    with storage_errors(folder):
        places = {f"class_{k}": where for k, where in enumerate(index.places())}
        np.savez(folder / "places.npz", allow_pickle=False, **places)
    write_json(
        folder / "part.json",
        {
            "volume": volume.name,
            "origin": box.start,
            "shape": box.shape,
            "stored": [stored.start, stored.stop],
            "volume_shape": volume.image.shape,
            "class_counts": index.counts.tolist(),
            "fully_valid": index.n_invalid == 0,
            "masks": not classes.exclusive,
            "background": classes.background,
            "sha256": content.hexdigest(),
        },
    )


def _targets_of(volume: Volume, box: Box) -> np.ndarray:
    """(K, Z, Y, X) labels, INVALID where a voxel does not count."""
    target = np.stack([label.read(box) for label in volume.labels])
    if volume.valid is not None:
        target[:, volume.valid.read(box) == 0] = INVALID
    return target


def _stage_weight(weight: Image, box: Box, flat: bool, folder: Path) -> None:
    with storage_errors(folder):
        store = _create(folder / "weight", box.shape, np.dtype(np.float32), flat)
    for block in box.blocks(_SLAB[flat]):
        write_block(store, block.relative_to(box.start).slices, weight.read(block).astype(np.float32), folder)


class _ClassIndex:
    """Counts classes and keeps, for each, the places with the smallest random keys: an even sample of them all."""

    def __init__(self, classes: Classes) -> None:
        self._exclusive = classes.exclusive
        n = len(classes.names) if classes.exclusive else len(classes.names) + 1
        self.counts = np.zeros(n, np.int64)
        self.n_invalid = 0
        self._kept: list[tuple[np.ndarray, np.ndarray]] = [
            (np.empty(0, np.float32), np.empty((0, 3), np.int32)) for _ in self.counts
        ]

    def add(self, target: np.ndarray, block: Box) -> None:
        """Count one block: target (K, Z, Y, X)."""
        ok = np.all(target != INVALID, axis=0)
        self.n_invalid += int(ok.size - np.count_nonzero(ok))
        rng = np.random.default_rng(block.start)
        for k in range(len(self.counts)):
            if self._exclusive:
                where = ok & (target[0] == k)
            else:
                where = ok & (target[k - 1] > 0) if k else ok & ~np.any(target, axis=0)
            flat = np.flatnonzero(where)
            self.counts[k] += flat.size
            if flat.size:
                self._keep(k, flat, block, rng)

    def _keep(self, k: int, flat: np.ndarray, block: Box, rng: np.random.Generator) -> None:
        keys = rng.random(flat.size, dtype=np.float32)
        if flat.size > MAX_PLACES:
            chosen = np.argpartition(keys, MAX_PLACES)[:MAX_PLACES]
            flat, keys = flat[chosen], keys[chosen]
        where = np.stack(np.unravel_index(flat, block.shape), axis=1) + np.array(block.start)
        keys = np.concatenate([self._kept[k][0], keys])
        where = np.concatenate([self._kept[k][1], where.astype(np.int32)])
        order = np.argsort(keys, kind="stable")[:MAX_PLACES]
        self._kept[k] = (keys[order], where[order])

    def places(self) -> list[np.ndarray]:
        """(N, 3) places for each class."""
        return [where for _, where in self._kept]


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], flat: bool) -> Any:
    lead, chunk = shape[:-3], _CHUNK[flat]
    shard = (*lead, *(min(s, -(-n // c) * c) for s, n, c in zip(_SHARD[flat], shape[-3:], chunk, strict=True)))
    axes = ("c", "z", "y", "x")[-len(shape) :]
    write_json(path / "zarr.json", array_metadata(shape, dtype, (*lead, *chunk), shard, axes))
    return _open(path)


def _open(path: Path) -> Any:
    node = find_node(path)
    if node is None:
        raise RunError(f"{path}: the staged data is gone; remove the folder {path.parent.parent} and resume")
    return open_array(node, cache_bytes=_CACHE_BYTES)
