"""A finished prediction on disk, and how to open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, ValidationError, model_validator

from cristae.config import problem_of
from cristae.data.address import Address, Place, place_of
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.formats.ome_zarr import open_ome_zarr, read_attributes
from cristae.data.formats.paths import Reading, find_source, is_zarr
from cristae.data.formats.stores import kind_of
from cristae.data.image import Image, VoxelSize
from cristae.errors import FormatError, MissingFileError, RunError
from cristae.postprocessing import Step

SEGMENTATION = "segmentation"
"""Name of the label image of exclusive classes; overlapping classes have one image each, called after the class."""
KIND = "prediction"
DISAGREEMENT = "disagreement"
"""Name of the group inside a prediction that holds the map of the members' disagreement."""
UNFINISHED = (
    "the prediction is not finished, voxels that are missing read as background; repeat the `cristae predict` command "
    "that began it to resume it"
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the networks found in a volume. Nothing is read until an image's `read` is called."""

    path: Place
    labels: tuple[Image, ...]
    """Exclusive classes: one image of class ids. Overlapping classes: one image of 0 and 1 for each class."""
    probabilities: tuple[Image, ...]
    """uint8 images of p x 255, in the order of `channel_names`; empty when they were not kept."""
    classes: Classes
    voxel_size_nm: VoxelSize | None
    box: Box
    """Which voxels of the volume it covers."""
    attributes: dict[str, Any]
    """Runs, hashes, settings and plan, as stored."""
    disagreement: Image | None = None
    """uint8 image of the members' disagreement about each voxel x 255: the mutual information of class and member
    (Smith and Gal 2018, https://arxiv.org/abs/1803.08533), as a fraction of the largest that there can be,
    log(min(classes, members)). None when it was not kept."""

    @property
    def volume_shape(self) -> Triple:
        """Voxels (z, y, x) of the volume, of which `box` is a part or all."""
        z, y, x = self.attributes["input"]["shape"]
        return z, y, x

    @property
    def preview(self) -> str:
        """Which level of the volume's pyramid was predicted, in words; empty for full size."""
        return preview_text(self.attributes)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The class of each probability image; with softmax the background, where there is one, has one too."""
        return tuple(self.attributes["channels"])

    @property
    def instance_classes(self) -> tuple[str, ...]:
        """The classes whose objects are numbered in a label image `CLASS_instances`."""
        return tuple((self.attributes.get("postprocess") or {}).get("instances", ()))

    @property
    def normalizations(self) -> tuple[str, ...]:
        """How the grey values were normalised, in words: once where the runs agree."""
        return normalizations(self.attributes)


def label_names(classes: Classes) -> tuple[str, ...]:
    """Names of the label images of a prediction."""
    return (SEGMENTATION,) if classes.exclusive else classes.names


def is_prediction(path: Place) -> bool:
    """Whether a path is a prediction that Cristae wrote, complete or not."""
    return (path / "zarr.json").is_file() and read_attributes(path).get("kind") == KIND


def open_prediction(path: str | Place) -> Prediction:
    """Open a prediction.

    Raises:
        MissingFileError: There is nothing at this path.
        FormatError: It is not a prediction of Cristae, or is damaged.
        RunError: It is not finished.
    """
    path = place_of(path)
    attributes = read_state(path)
    if attributes is None:
        raise MissingFileError(f"{path}: there is no prediction here")
    if not is_finished(attributes):
        raise RunError(f"{path}: {UNFINISHED}")
    classes = Classes.model_validate(attributes["classes"])
    labels = tuple(open_ome_zarr(path, f"labels/{name}") for name in label_names(classes))
    box = Box(tuple(attributes["box"]["start"]), tuple(attributes["box"]["stop"]))
    for label in labels:
        if label.shape != box.shape:
            raise FormatError(f"{label.path}: has shape {label.shape} (z, y, x), but the prediction is of box {box}")
    kept = attributes["settings"]["probabilities"]
    channels = range(len(attributes["channels"]) if kept else 0)
    return Prediction(
        path=path,
        labels=labels,
        probabilities=tuple(open_ome_zarr(path, reading=Reading(channel=channel)) for channel in channels),
        classes=classes,
        voxel_size_nm=labels[0].voxel_size_nm,
        box=box,
        attributes=attributes,
        disagreement=_disagreement(path, box) if attributes["settings"].get("disagreement") else None,
    )


def _disagreement(path: Place, box: Box) -> Image:
    image = open_ome_zarr(path, DISAGREEMENT)
    if image.shape != box.shape:
        raise FormatError(f"{image.path}: has shape {image.shape} (z, y, x), but the prediction is of box {box}")
    return image


def prediction_around(path: str | Path) -> Place | None:
    """The prediction that a path names or lies in, finished or not; None where there is none.

    Raises:
        MissingFileError: There is nothing by this name.
    """
    source = find_source(path)
    place = (source.path / source.inner).resolve()
    while is_zarr(place):
        if is_prediction(place):
            return place
        place = place.parent
    return None


def preview_text(attributes: Mapping[str, Any]) -> str:
    """What a prediction of a coarser level says about itself; empty for one of full size."""
    level = (attributes.get("input") or {}).get("level", 0)
    return f"preview of level {level}" if level else ""


def normalizations(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """How the runs of a prediction normalised the volume, in words; empty where an earlier version does not say."""
    runs = attributes.get("runs", ())
    return tuple(dict.fromkeys(_normalization(run) for run in runs if isinstance(run.get("normalize"), dict)))


def _normalization(run: Mapping[str, Any]) -> str:
    how, found = run["normalize"], run.get("normalizer") or {}
    scope = how.get("scope")
    name = f"{how.get('name')}{f', scope: {scope}' if scope else ''}"
    further = scope in ("slice", "patch") or found.get("matching") or found.get("contrast")
    if further or "low" not in found or "high" not in found:  # then a grey value has no number of its own everywhere
        return name
    ends = sorted((found["low"], found["high"]), reverse=bool(found.get("invert")))
    return f"{name}; grey value {ends[0]:.6g} becomes 0 and {ends[1]:.6g} becomes 1"


def is_finished(attributes: dict[str, Any]) -> bool:
    """Whether a prediction that says this about itself is complete, its post-processing included."""
    after = attributes.get("postprocess") or {}
    return bool(attributes.get("status") == "complete" and after.get("status", "complete") == "complete")


def require_finished(path: str | Path) -> None:
    """Do nothing, unless the path names or lies in a prediction that still has gaps.

    Raises:
        RunError: It does.
        MissingFileError: There is nothing by this name.
    """
    prediction = prediction_around(path)
    if prediction is not None and not is_finished(read_attributes(prediction)):
        raise RunError(f"{path}: {UNFINISHED}")


def read_state(path: Place) -> dict[str, Any] | None:
    """The manifest of a prediction at `path`, finished or not; None when nothing is there.

    Raises:
        FormatError: Something else is there, or the manifest is damaged.
    """
    if _is_free(path):
        return None
    if not is_prediction(path):
        raise FormatError(f"{path}: is not a prediction made by Cristae")
    attributes = read_attributes(path)
    try:
        _Stored.model_validate(attributes)
    except ValidationError as error:
        raise FormatError(
            f"{path / 'zarr.json'}: the manifest of the prediction is damaged: {problem_of(error, 'cristae')}; "
            "remove it and predict again"
        ) from None
    return attributes


def _is_free(path: Place) -> bool:
    if isinstance(path, Address):
        return kind_of(path) is None
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


_Whole = Annotated[int, Field(strict=True, ge=0)]
_Positive = Annotated[int, Field(strict=True, ge=1)]


class _Corners(BaseModel):
    start: tuple[_Whole, _Whole, _Whole]
    stop: tuple[_Positive, _Positive, _Positive]


class _Input(BaseModel):
    shape: tuple[_Positive, _Positive, _Positive]


class _Settings(BaseModel):
    probabilities: StrictBool
    disagreement: StrictBool = False


class _Plan(BaseModel):
    block: tuple[_Positive, _Positive, _Positive]
    chunk: tuple[_Positive, _Positive, _Positive]
    pass_vox: _Positive
    backend: Literal["cpu", "cuda", "mps"]


class _PostProcess(BaseModel):
    status: Literal["running", "complete"]
    steps: tuple[Step, ...]
    instances: tuple[str, ...] = ()


class _Stored(BaseModel):
    """What later steps rely on; there may be more."""

    status: Literal["running", "complete"]
    classes: Classes
    channels: tuple[str, ...]
    box: _Corners
    input: _Input
    runs: tuple[dict[str, Any], ...]
    settings: _Settings
    plan: _Plan
    input_sha256: str | None = None
    """Once it is complete."""
    postprocess: _PostProcess | None = None
    """Where steps change its labels."""

    @model_validator(mode="after")
    def _check(self) -> _Stored:
        corners = zip(self.box.start, self.box.stop, self.input.shape, strict=True)
        if not all(start < stop <= size for start, stop, size in corners):
            raise ValueError(f"the box is empty or outside the volume of shape {self.input.shape}")
        if not self.channels or not set(self.channels) <= set(self.classes.names):
            raise ValueError(f"the channels {list(self.channels)} are not among the classes")
        if self.status == "complete" and self.input_sha256 is None:
            raise ValueError("input_sha256 is missing, although it is complete")
        return self
