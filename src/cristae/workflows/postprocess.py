"""Post-process labels in any format: small objects, holes, thresholds, smoothing, instances."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.data.classes import BACKGROUND_COLOR, Classes
from cristae.data.files import require_new, require_writable, storage_errors, write_json
from cristae.data.formats.write import SUFFIXES, write_image
from cristae.data.image import VoxelSize
from cristae.errors import FormatError
from cristae.evaluation.label_maps import as_labels, digest_of, open_label_maps
from cristae.evaluation.segmentation import SegmentationSource
from cristae.postprocessing import Step, require_fit, split_classes
from cristae.postprocessing.apply import apply_steps, origin_of
from cristae.postprocessing.form import Change, Outcome
from cristae.postprocessing.instances import INSTANCES, write_labels
from cristae.postprocessing.memory import plan_work
from cristae.progress import Progress
from cristae.recipe.load import load_steps

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
_READY = "ready"
"""A file that is there once all results are, beside their places."""


@dataclass(frozen=True)
class PostProcessed:
    """What was written, and what each step changed."""

    path: Path
    """The labels."""
    instances: dict[str, Path]
    """By class, the image of its instances."""
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": str(self.path),
            "instances": {name: str(path) for name, path in self.instances.items()},
            "changes": [asdict(change) for change in self.changes],
        }


def postprocess(
    labels: SegmentationSource,
    steps: Sequence[Step] | str | Path,
    *,
    out: str | Path,
    recipe: Recipe | None = None,
    classes: Classes | None = None,
    voxel_size_nm: VoxelSize | None = None,
    max_ram: str | None = None,
    progress: Progress = Progress(),
) -> PostProcessed:
    """Carry out steps on labels and write the result as a new file; repeat the call to continue after a kill.

    The result does not depend on blocks, and memory does not grow with the volume. What values mean is said by a
    prediction, by `recipe` or `classes`; other files have the classes that they list, or one for each id.

    Args:
        labels: A prediction, label files in any format, a volume with labels, or an image of class ids in memory.
        steps: What to do, in this order: steps, or a YAML file that lists them as `predict.postprocess` does.
        out: The new file: .zarr, .tif, .mrc or .h5. Overlapping classes need .zarr, where each is a label image.
            Instances lie under `labels/` of a .zarr, else in files beside it that end in _CLASS_instances.
        recipe: The meaning of the values of a label file.
        classes: The meaning of class ids that are not a prediction's.
        voxel_size_nm: (z, y, x), where the file does not say it.
        max_ram: Ceiling for the memory of the process, such as '2GiB'; None takes half of what is free.
        progress: Where to report.

    Returns:
        Where the results are, and what each step changed.

    Raises:
        RunError: A step cannot be carried out on these classes, or not within the memory.
        ScoreError: Values are no class ids, or voxels were not annotated.
        VoxelSizeError: A step measures in nm and the voxel size is not known, or the file says another one.
        OutputExistsError: There is something at `out`.
        FormatError: The format of `out` is not known, or cannot hold the result.
        CristaeError: A file is missing or damaged, or the disk is full.

    Example:
        >>> done = postprocess("labels.tif", "steps.yaml", out="clean.tif")  # doctest: +SKIP
    """
    out = Path(out)
    listed = load_steps(steps) if isinstance(steps, str | Path) else tuple(steps)
    maps = open_label_maps(labels, recipe=recipe, classes=classes, voxel_size_nm=voxel_size_nm, progress=progress)
    require_fit(listed, maps.classes, maps.voxel_size_nm)
    for step in listed:
        step.require_probabilities(maps)
    place = _Place.of(out, maps.classes, listed)
    work = plan_work(maps.images, listed, place.work / "steps", max_ram)
    origin = origin_of(digest_of(maps), maps.voxel_size_nm, maps.classes.model_dump(mode="json"))
    outcome = apply_steps(maps, listed, work, origin=origin, progress=progress)
    place.write(outcome, maps.images[0].origin_nm, progress)
    return PostProcessed(out, place.instances, outcome.changes)


@dataclass(frozen=True)
class _Place:
    """Where results go."""

    out: Path
    work: Path
    """A hidden folder beside it, which a later call continues from."""
    classes: Classes
    instances: dict[str, Path]

    @classmethod
    def of(cls, out: Path, classes: Classes, steps: Sequence[Step]) -> _Place:
        """Refuse what cannot be written there before any work."""
        suffix = out.suffix.lower()
        if suffix not in SUFFIXES:
            raise FormatError(f"{out}: cannot be written: '{suffix}' is not one of {', '.join(SUFFIXES)}")
        split = split_classes(steps, classes)
        if not classes.exclusive and suffix != ".zarr":
            raise FormatError(f"{out}: overlapping classes are one image each, which only a .zarr holds; name it so")
        if split and suffix == ".mrc":
            raise FormatError(f"{out}: MRC cannot hold the numbers of objects; name it .zarr, .tif or .h5")
        inside = out / "labels" if suffix == ".zarr" else None
        beside = {name: out.with_name(f"{out.stem}_{name}{INSTANCES}{out.suffix}") for name in split}
        places = beside if inside is None else {name: inside / f"{name}{INSTANCES}" for name in split}
        place = cls(out, out.with_name(f".{out.name}.postprocess"), classes, places)
        require_new(out, what="the labels")
        require_writable(out)
        if inside is None and not (place.work / _READY).exists():
            for path in places.values():
                require_new(path, what="the instances")
        return place

    def write(self, outcome: Outcome, origin_nm: VoxelSize | None, progress: Progress) -> None:
        """Write all results out of sight, then put them in place, the labels last."""
        ready = self.work / "ready files"
        with storage_errors(self.out):
            (self.work / _READY).unlink(missing_ok=True)
            shutil.rmtree(ready, ignore_errors=True)
            ready.mkdir(parents=True)
        size = outcome.maps.voxel_size_nm
        maps = [replace(image, origin_nm=origin_nm, voxel_size_nm=size) for image in outcome.maps.images]
        known = self.classes
        if known.exclusive:
            names = [(name, known.color_of(name)) for name in known.names]
            write_image(as_labels(maps[0], names), ready / self.out.name, progress=progress)
        else:
            write_json(ready / self.out.name / "zarr.json", _GROUP)
            for name, image in zip(known.names, maps, strict=True):
                values = ((0, "background", BACKGROUND_COLOR), (1, name, known.color_of(name)))
                write_labels(ready / self.out.name / "labels" / name, image, progress, classes=values)
        for name, image in outcome.instances.items():
            numbers = replace(image, origin_nm=origin_nm)
            target = ready / self.instances[name].relative_to(self.out.parent)
            if self.out.suffix.lower() == ".zarr":
                write_labels(target, numbers, progress)
            else:
                write_image(numbers, target, progress=progress)
        self._show(ready)

    def _show(self, ready: Path) -> None:
        with storage_errors(self.out):
            (self.work / _READY).touch()
            for path in sorted(ready.iterdir(), key=lambda path: path.name == self.out.name):
                if path.is_dir():
                    with suppress(FileNotFoundError):
                        self.out.rmdir()  # an empty folder is nothing
                path.replace(self.out.parent / path.name)
            shutil.rmtree(self.work, ignore_errors=True)
