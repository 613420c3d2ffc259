"""The resolution levels of a pyramid, and the path of one of them."""

from __future__ import annotations

from itertools import count, takewhile
from pathlib import Path

from cristae.data.address import Address, Place
from cristae.data.formats.array_groups import finest_level
from cristae.data.formats.json_file import load_object
from cristae.data.formats.n5 import list_n5
from cristae.data.formats.ngff import dataset_paths, find_multiscale
from cristae.data.formats.paths import Source, find_source, is_array_folder, is_missing, is_n5, is_precomputed, is_zarr
from cristae.data.formats.zarr_arrays import find_arrays, find_node
from cristae.errors import FormatError


def level_path(path: str | Path | Address, level: int) -> str:
    """The path of one resolution level of the pyramid that a path names.

    Args:
        path: A volume in OME-Zarr, N5 or the precomputed format, with its options if there are any.
        level: 0 for the finest.

    Raises:
        MissingFileError: There is nothing by this name.
        FormatError: It has no such level, or none at all; the metadata are damaged.
    """
    source = find_source(path)
    names = level_names(source)
    if level < len(names):
        inner = "/".join(part for part in (source.inner, names[level]) if part)
        return source.reading.on(f"{source.path}:/{inner}")
    if len(names) > 1:
        raise FormatError(f"{path}: has the resolution levels 0 to {len(names) - 1}, no level {level}")
    place = Path(str(path)) if source.files else source.path
    target = place.parent / (f"{place.stem}_levels.zarr" if place.suffix == ".zarr" else f"{place.stem}.zarr")
    group = ""
    if not source.files and is_array_folder(source.path):
        group = "Name the group that holds the levels, not one of its arrays, if there is one. "
    raise FormatError(
        f"{path}: is no pyramid of several resolutions, so there is no level {level}. {group}"
        f"`cristae convert {path} {target}` writes one: an OME-Zarr of more than 256 pixels has coarser levels"
    )


def level_names(source: Source) -> tuple[str, ...]:
    """Paths of the resolution levels inside what a source names, finest first; empty for what is no pyramid.

    Raises:
        FormatError: The metadata are damaged.
    """
    if source.files or is_missing(source.path):
        return ()
    place = source.path / source.inner if source.inner else source.path
    if is_zarr(source.path):
        return _of_zarr(place)
    if is_precomputed(source.path):
        return _of_precomputed(place)
    return _of_n5(place) if is_n5(source.path) else ()


def _of_zarr(place: Place) -> tuple[str, ...]:
    group = find_node(place)
    if group is not None and group.kind == "array":
        return ()
    multiscale = None if group is None else find_multiscale(group.attributes, place)
    if multiscale is not None:
        return dataset_paths(multiscale)
    arrays = find_arrays(place)
    if len(arrays) == 1:
        return tuple(f"{arrays[0]}/{name}" for name in _of_zarr(place / arrays[0]))
    return _numbered(place) if finest_level(arrays) else ()


def _of_n5(place: Place) -> tuple[str, ...]:
    if names := _numbered(place):
        return names
    groups = list_n5(place)
    if len(groups) != 1 or not groups[0]:
        return ()
    return tuple(f"{groups[0]}/{name}" for name in _numbered(place / groups[0]))


def _of_precomputed(place: Place) -> tuple[str, ...]:
    if not (place / "info").is_file():  # the folder of one scale
        return ()
    scales = load_object(place / "info").get("scales")
    if not isinstance(scales, list) or not all(isinstance(one, dict) and "key" in one for one in scales):
        raise FormatError(f"{place / 'info'}: its list of scales is damaged; copy it again from its source")
    return tuple(str(one["key"]).strip("/") for one in scales)


def _numbered(place: Place) -> tuple[str, ...]:
    """The arrays s0, s1, ... of a group, up to the first that is missing."""
    return tuple(takewhile(lambda name: not is_missing(place / name), (f"s{number}" for number in count())))
