"""A finished prediction on disk, and how to open it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats.ome_zarr import open_ome_zarr, read_attributes
from cristae.data.image import Image, VoxelSize
from cristae.errors import FormatError, MissingFileError, RunError

SEGMENTATION = "segmentation"
"""Name of the label image of exclusive classes; overlapping classes have one image each, called after the class."""
KIND = "prediction"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the networks found in a volume. Nothing is read until an image's `read` is called."""

    path: Path
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

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The class of each probability image; with softmax the background has one too."""
        return tuple(self.attributes["channels"])


def label_names(classes: Classes) -> tuple[str, ...]:
    """Names of the label images of a prediction."""
    return (SEGMENTATION,) if classes.exclusive else classes.names


def open_prediction(path: str | Path) -> Prediction:
    """Open a prediction.

    Raises:
        MissingFileError: There is nothing at this path.
        FormatError: It is not a prediction of Cristae.
        RunError: It is not finished.
    """
    path = Path(path)
    attributes = read_state(path)
    if attributes is None:
        raise MissingFileError(f"{path}: there is no prediction here")
    if attributes["status"] != "complete":
        raise RunError(
            f"{path}: the prediction is not finished; repeat the `cristae predict` command that began it, "
            "it goes on where it stopped"
        )
    classes = Classes.model_validate(attributes["classes"])
    labels = tuple(open_ome_zarr(path, f"labels/{name}") for name in label_names(classes))
    kept = attributes["settings"]["probabilities"]
    channels = range(len(attributes["channels"]) if kept else 0)
    return Prediction(
        path=path,
        labels=labels,
        probabilities=tuple(open_ome_zarr(path, channel=channel) for channel in channels),
        classes=classes,
        voxel_size_nm=labels[0].voxel_size_nm,
        box=Box(tuple(attributes["box"]["start"]), tuple(attributes["box"]["stop"])),
        attributes=attributes,
    )


def read_state(path: Path) -> dict[str, Any] | None:
    """What a prediction at `path` says about itself, finished or not; None when nothing is there.

    Raises:
        FormatError: Something else is there.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    attributes = read_attributes(path) if (path / "zarr.json").is_file() else {}
    if attributes.get("kind") != KIND:
        raise FormatError(f"{path}: is not a prediction made by Cristae")
    return attributes
