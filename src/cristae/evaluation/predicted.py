"""Paths that name a prediction, or something inside one, where a plain image is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cristae.data.formats.ome_zarr import read_attributes
from cristae.data.formats.paths import find_source, is_zarr
from cristae.errors import RunError
from cristae.inference.prediction import is_prediction

UNFINISHED = (
    "the prediction is not finished, voxels that are missing read as background; repeat the `cristae predict` command "
    "that began it, it resumes where it stopped"
)


def prediction_around(path: str | Path) -> Path | None:
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


def is_finished(attributes: dict[str, Any]) -> bool:
    """Whether a prediction that says this about itself is complete."""
    return bool(attributes.get("status") == "complete")


def require_finished(path: str | Path) -> None:
    """Do nothing, unless the path names or lies in a prediction that still has gaps.

    Raises:
        RunError: It does.
        MissingFileError: There is nothing by this name.
    """
    prediction = prediction_around(path)
    if prediction is not None and not is_finished(read_attributes(prediction)):
        raise RunError(f"{path}: {UNFINISHED}")
