"""The OME-Zarr group of a prediction: made in one step, filled block by block, continued after a kill.

Root: the probabilities (c, z, y, x), or a small preview of the input. `labels/`: the class ids, or one mask for each
overlapping class. `disagreement/`: how much members disagree, where that is asked for. The group attribute `cristae`
says what it was made from and whether it is complete; it is written first, so that a stopped prediction can never be
taken for a finished one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.address import Address, Place, place_of
from cristae.data.box import Box, Triple
from cristae.data.classes import BACKGROUND_COLOR, Classes
from cristae.data.files import require_new, storage_errors, write_json
from cristae.data.formats.json_file import load_object
from cristae.data.formats.ngff import LabelClass, group_attributes
from cristae.data.formats.ome_zarr import (
    ZarrSpec,
    ZarrWriter,
    build_pyramid,
    create_multiscale,
    open_ome_zarr,
    open_writer,
    pyramid_levels,
    write_attributes,
)
from cristae.data.formats.paths import Reading
from cristae.data.image import VoxelSize, moved_origin
from cristae.errors import FormatError, MissingFileError, RunError
from cristae.inference.blocks import Block, plan_blocks
from cristae.inference.disagreement import SCALE
from cristae.inference.emptiness import EmptyRule, rule_text, summary
from cristae.inference.ensemble import Ensemble
from cristae.inference.journal import Entry, Journal, digest
from cristae.inference.manifest import manifest_of, require_same
from cristae.inference.plan import BlockPlan
from cristae.inference.prediction import DISAGREEMENT, KIND, label_names, read_state
from cristae.inference.request import PredictionRequest
from cristae.progress import Progress

_WITH_COARSER = 4 / 3
"""Voxels of all levels for one of the finest, at most: each has a quarter of those of the one before, or fewer."""
_MEANING = (
    "mutual information of class and member as a fraction of its largest value, log(min(classes, members)); "
    "of overlapping or merged classes the largest"
)


@dataclass(frozen=True)
class Layout:
    """What the arrays of a prediction look like."""

    region: Box
    """The voxels of the volume that are predicted."""
    plan: BlockPlan
    ensemble: Ensemble
    keep_probabilities: bool
    input_dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize | None
    origin_nm: VoxelSize | None
    """Of the volume's first voxel."""
    name: str
    """What viewers show."""
    keep_disagreement: bool = False
    skip_empty: EmptyRule | None = None
    """Which blocks are empty."""

    @property
    def preview_factor(self) -> int:
        """How much y and x of the preview are reduced; 0 when there is none."""
        if self.keep_probabilities:
            return 0
        sides = list(zip(self.region.shape[1:], self.plan.block[1:], strict=True))
        wanted = 4 if max(self.region.shape[1:]) > 512 else 2
        fits = (f for f in (wanted, 2, 1) if all(side <= block or block % f == 0 for side, block in sides))
        return next(fits)

    @property
    def bytes_per_vox(self) -> float:
        """Of all arrays and their coarser levels, before they are compressed."""
        full = 1 if self.ensemble.classes.exclusive else len(self.ensemble.classes.names)
        full += self.ensemble.channels if self.keep_probabilities else 0
        full += self.keep_disagreement
        preview = self.input_dtype.itemsize / self.preview_factor**2 if self.preview_factor else 0.0
        return _WITH_COARSER * full + preview

    def spec(self, *, channels: int | None = None) -> ZarrSpec:
        """The array of labels or probabilities."""
        return ZarrSpec(
            self.region.shape,
            np.dtype(np.uint8),
            self.plan.chunk,
            self.plan.block,
            self.voxel_size_nm,
            moved_origin(self.origin_nm, self.region.start, self.voxel_size_nm),
            channels,
        )


@dataclass(frozen=True, eq=False)
class Written:
    """The voxels of a block, ready for the disk."""

    labels: np.ndarray
    """uint8 (N, Z, Y, X), one for each label image."""
    probabilities: np.ndarray | None = None
    """uint8 (C, Z, Y, X)."""
    preview: np.ndarray | None = None
    """(Z, ceil(Y / f), ceil(X / f)) in the input's type."""
    disagreement: np.ndarray | None = None
    """uint8 (Z, Y, X)."""
    empty: bool = False
    """Whether the block was skipped because there is nothing in it."""


class PredictionWriter:
    """Fills the arrays of a prediction and keeps its journal. Blocks may come from any number of threads.

    Raises:
        FormatError: The arrays that are there do not follow the plan.
    """

    def __init__(self, path: Place, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.journal = Journal(path)
        self._names = label_names(layout.ensemble.classes)
        self._labels = [open_writer(path / "labels" / name) for name in self._names]
        self._root: ZarrWriter = open_writer(path)
        self._disagreement = open_writer(path / DISAGREEMENT) if layout.keep_disagreement else None
        for writer in self._labels:
            if (writer.spec.shape, writer.spec.shards) != (layout.region.shape, layout.plan.block):
                raise FormatError(
                    f"{writer.path}: has shape {writer.spec.shape} in blocks of {writer.spec.shards}, but was planned "
                    f"as {layout.region.shape} in blocks of {layout.plan.block}; remove the prediction and start again"
                )

    def blocks(self) -> list[Block]:
        """All blocks of the plan, in their order."""
        return list(plan_blocks(self.layout.region, self.layout.plan.block))

    def write(self, block: int, core: Box, voxels: Written, input_digest: str) -> None:
        """Write a block and, when it is on disk, its line in the journal.

        Args:
            block: Its place in the plan.
            core: Its voxels in the volume.
            voxels: What to write; with an empty `input_digest` (masked out) the arrays keep their zeros.
            input_digest: SHA-256 of the grey values that were read for it.
        """
        here = core.relative_to(self.layout.region.start)
        if input_digest:
            for writer, labels in zip(self._labels, voxels.labels, strict=True):
                writer.write(here, labels)
            if voxels.probabilities is not None:
                self._root.write(here, voxels.probabilities)
            if self._disagreement is not None and voxels.disagreement is not None:
                self._disagreement.write(here, voxels.disagreement)
        if voxels.preview is not None:
            self._root.write(self._preview_box(here), voxels.preview)
        self.journal.add(Entry(block, str(core), input_digest, _output_digest(voxels), voxels.empty))

    def intact(self, entry: Entry, core: Box) -> bool:
        """Whether the voxels on disk match the checksum in the journal."""
        if entry.box != str(core):
            return False
        here = core.relative_to(self.layout.region.start)
        kept = None
        if self.layout.keep_probabilities:
            channels = range(self.layout.ensemble.channels)
            kept = np.stack(
                [open_ome_zarr(self.path, reading=Reading(channel=c), cache_bytes=0).read(here) for c in channels]
            )
        between = None
        if self.layout.keep_disagreement:
            between = open_ome_zarr(self.path, DISAGREEMENT, cache_bytes=0).read(here)
        return _output_digest(Written(self.labels(core), kept, disagreement=between)) == entry.output

    def labels(self, box: Box) -> np.ndarray:
        """Labels (1 or K, Z, Y, X) on disk of a box of the volume."""
        here = box.relative_to(self.layout.region.start)
        return np.stack([open_ome_zarr(self.path, f"labels/{name}", cache_bytes=0).read(here) for name in self._names])

    def finish(self, progress: Progress) -> None:
        """Fill the coarser levels and mark the prediction as complete.

        Raises:
            RunError: Blocks are missing.
        """
        blocks, entries = self.blocks(), self.journal.read()
        missing = [b for b in blocks if b.index not in entries or entries[b.index].box != str(b.core)]
        if missing:
            raise RunError(
                f"{self.path}: {len(missing)} of {len(blocks)} blocks are not predicted yet, the first is "
                f"{missing[0].core}; repeat the command that began the prediction"
            )
        for name in self._names:
            build_pyramid(self.path / "labels" / name, method="nearest", progress=progress)
        if self.layout.keep_probabilities:
            build_pyramid(self.path, method="mean", progress=progress)
        if self.layout.keep_disagreement:
            build_pyramid(self.path / DISAGREEMENT, method="mean", progress=progress)
        empty = {} if self.layout.skip_empty is None else {"empty": self._empty(blocks, entries, progress)}
        write_attributes(self.path, {"status": "complete", **self.journal.summary(), **empty})
        self.journal.remove()

    def _empty(self, blocks: Sequence[Block], entries: Mapping[int, Entry], progress: Progress) -> dict[str, Any]:
        """Say which blocks were skipped because there is nothing in them."""
        skipped = [block for block in blocks if entries[block.index].empty]
        voxels = sum(block.core.size for block in skipped)
        assert self.layout.skip_empty is not None, "there is a rule"
        share = voxels / self.layout.region.size
        progress.say(
            f"{self.path}: {len(skipped)} of {len(blocks)} blocks, {share:.0%} of the voxels, "
            f"are empty ({rule_text(self.layout.skip_empty)}) and were not shown to the networks"
        )
        return summary([block.index for block in skipped], voxels)

    def _preview_box(self, here: Box) -> Box:
        factor = self.layout.preview_factor
        (z0, y0, x0), (z1, y1, x1) = here.start, here.stop
        return Box((z0, y0 // factor, x0 // factor), (z1, -(-y1 // factor), -(-x1 // factor)))


def create_prediction(path: Place, layout: Layout, attributes: Mapping[str, Any]) -> PredictionWriter:
    """Make the group with all its arrays empty; it appears at `path` in one step: in a store with its own metadata.

    Args:
        path: The new group.
        layout: Its arrays.
        attributes: What it is made from; stored as group attribute `cristae` beside kind, status and classes.

    Raises:
        OutputExistsError: There is something at `path`.
        StorageError: The disk is full or the place may not be written.
    """
    require_new(path, what="the prediction")
    about = {
        "kind": KIND,
        "status": "running",
        "classes": layout.ensemble.classes.model_dump(mode="json"),
        "channels": list(layout.ensemble.channel_names),
        "box": {"start": list(layout.region.start), "stop": list(layout.region.stop)},
        **attributes,
    }
    if isinstance(path, Address):
        path.remove_below()  # what a kill left of an earlier beginning
        _create_arrays(path, layout, about)
    else:
        _create_beside(path, layout, about)
    return PredictionWriter(path, layout)


def _create_beside(path: Path, layout: Layout, about: Mapping[str, Any]) -> None:
    beside = path.parent / f".{path.name}.part"
    with storage_errors(path):
        shutil.rmtree(beside, ignore_errors=True)
        try:
            _create_arrays(beside / "group", layout, about)
            if path.is_dir():
                path.rmdir()
            (beside / "group").rename(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def begin_output(request: PredictionRequest) -> PredictionWriter:
    """The output of a request, made when it is not there yet. Before several workers start, one process does this.

    Raises:
        OutputExistsError: There is something else at its place.
        FormatError: The arrays that are there do not follow the plan.
        StorageError: The disk is full or the place may not be written.
    """
    path = place_of(request.out)
    if read_state(path) is not None:
        return open_output(request)
    return create_prediction(path, layout_of(request), manifest_of(request))


def open_output(request: PredictionRequest) -> PredictionWriter:
    """The output of a request that was begun.

    Raises:
        MissingFileError: It was not begun.
        OutputExistsError: It was begun from something else.
        FormatError: The arrays that are there do not follow the plan.
    """
    path = place_of(request.out)
    begun = read_state(path)
    if begun is None:
        raise MissingFileError(
            f"{path}: the prediction has not been created; call `begin_prediction` before its parts are predicted"
        )
    require_same(path, begun, request.provenance)
    return PredictionWriter(path, layout_of(request))


def layout_of(request: PredictionRequest) -> Layout:
    """The arrays of a request's output."""
    origin, volume = request.provenance, request.provenance.volume
    return Layout(
        region=origin.box,
        plan=request.plan,
        ensemble=origin.ensemble,
        keep_probabilities=origin.settings.probabilities,
        input_dtype=np.dtype(volume.dtype),
        voxel_size_nm=volume.voxel_size_nm,
        origin_nm=volume.origin_nm,
        name=volume.name,
        keep_disagreement=origin.settings.disagreement,
        skip_empty=origin.settings.skip_empty,
    )


def shrink(voxels: np.ndarray, factor: int) -> np.ndarray:
    """Mean of factor x factor voxels in y and x, (Z, Y, X) to (Z, ceil(Y / f), ceil(X / f)); edges are repeated."""
    if factor == 1:
        return voxels
    _, y, x = voxels.shape
    padded = np.pad(voxels, ((0, 0), (0, -y % factor), (0, -x % factor)), mode="edge")
    z, y, x = padded.shape
    means = padded.reshape(z, y // factor, factor, x // factor, factor).mean(axis=(2, 4), dtype=np.float32)
    rounded: np.ndarray = np.rint(means) if voxels.dtype.kind in "iub" else means
    return rounded.astype(voxels.dtype)


def _create_arrays(path: Place, layout: Layout, about: Mapping[str, Any]) -> None:
    """All groups, the outermost last: where it is, the others are."""
    levels = len(pyramid_levels(layout.region.shape, layout.voxel_size_nm))
    for name, classes in _label_images(layout.ensemble.classes):
        create_multiscale(path / "labels" / name, layout.spec(), name=name, classes=classes, levels=levels)
    if layout.keep_disagreement:
        said = {"kind": DISAGREEMENT, "meaning": _MEANING, "scale": 1 / SCALE}
        create_multiscale(path / DISAGREEMENT, layout.spec(), name=DISAGREEMENT, levels=levels, attributes=said)
    if layout.keep_probabilities:
        spec = layout.spec(channels=layout.ensemble.channels)
        names, color_of = layout.ensemble.channel_names, layout.ensemble.classes.color_of
        named = [(name, color_of(name)) for name in names]
        create_multiscale(path, spec, name=layout.name, named=named, levels=levels, attributes=about, around=True)
    else:
        _create_preview(path, layout, about)


def _create_preview(path: Place, layout: Layout, about: Mapping[str, Any]) -> None:
    factor = (1, layout.preview_factor, layout.preview_factor)
    shape, shard = _reduced(layout.region.shape, factor), _reduced(layout.plan.block, factor)
    fine = layout.spec()
    spec = replace(fine, shape=shape, dtype=layout.input_dtype, chunks=shard, shards=shard)
    create_multiscale(path, spec, name=layout.name, attributes=about, around=True)
    # The preview's voxels are `factor` times those of the labels, also when their size is not known.
    ome = group_attributes(layout.name, [("0", factor)], fine.voxel_size_nm, fine.origin_nm, channels=None)
    group = load_object(path / "zarr.json")
    group["attributes"]["ome"] = ome
    write_json(path / "zarr.json", group)


def _label_images(classes: Classes) -> Iterator[tuple[str, tuple[LabelClass, ...]]]:
    if classes.exclusive:
        alpha = dict.fromkeys(classes.foreground, "ff")  # id 0 is opaque where it is no background
        colors = {name: classes.color_of(name) + alpha.get(name, "") for name in classes.names}
        yield label_names(classes)[0], tuple((classes.id_of(name), name, colors[name]) for name in classes.names)
        return
    for name in classes.names:
        yield name, ((0, "background", BACKGROUND_COLOR), (1, name, classes.color_of(name)))


def _reduced(shape: Triple, factor: Triple) -> Triple:
    z, y, x = (-(-side // f) for side, f in zip(shape, factor, strict=True))
    return z, y, x


def _output_digest(voxels: Written) -> str:
    return digest(*(one for one in (voxels.labels, voxels.probabilities, voxels.disagreement) if one is not None))
