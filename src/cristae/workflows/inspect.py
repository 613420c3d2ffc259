"""Looking at files before using them: what they hold, and what is likely to go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cristae.data.formats.ome_zarr import read_attributes
from cristae.data.formats.paths import find_source, signed_path
from cristae.data.inspection import Inspection, describe_image, images_in
from cristae.inference.prediction import UNFINISHED, is_finished, normalizations, prediction_around, preview_text
from cristae.progress import Progress


def inspect(
    paths: str | Path | Iterable[str | Path], *, signed: bool | None = None, progress: Progress = Progress()
) -> tuple[Inspection, ...]:
    """Describe every image that the paths hold, reading all voxels once or twice in bounded memory.

    Files with several arrays (HDF5, N5, OME-Zarr with label images or channels) and folders of unrelated images give
    one answer each.

    Args:
        paths: Files, folders, globs, or arrays inside files.
        signed: Whether 8-bit values of MRC files are signed, where their header does not say.
        progress: Where to report.

    Raises:
        MissingFileError: There is nothing by a name.
        FormatError: A file is damaged, or is not what its name says.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    return tuple(one for path in listed for one in _inspect(signed_path(path, signed), progress))


def _inspect(path: str | Path, progress: Progress) -> Iterator[Inspection]:
    prediction, source = prediction_around(path), find_source(path)
    gaps = prediction is not None and not is_finished(read_attributes(prediction))
    unfinished = (f"unfinished: {UNFINISHED}",) if gaps else ()
    is_prediction = prediction is not None and prediction == (source.path / source.inner).resolve()
    about = {} if prediction is None else _about(read_attributes(prediction))
    for name, image, problems in images_in(path, is_prediction=is_prediction):
        image = replace(image, details={**image.details, **about})
        yield describe_image(name, image, (*unfinished, *problems), progress=progress)


def _about(attributes: Mapping[str, Any]) -> dict[str, str]:
    """What a prediction was made from, of what its images do not say themselves."""
    said = {"made from": preview_text(attributes), "normalised": "; ".join(normalizations(attributes))}
    return {name: text for name, text in said.items() if text}
