"""Neuroglancer precomputed volumes; read with tensorstore.

https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed: x, y, z, channel; resolution in nm.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

import tensorstore

from cristae.data.address import Address, Place, inner_path
from cristae.data.formats.json_file import load_object
from cristae.data.formats.paths import Reading
from cristae.data.formats.stored import StoredArray, axis_names, open_stored
from cristae.data.formats.tensor_store import NO_CHUNKS, LazyArray, holds_chunks, lazy_array, open_store, reason
from cristae.data.formats.units import Calibration, calibrate, to_nm
from cristae.data.image import Image
from cristae.errors import FormatError, MissingFileError

_VOLUME = "neuroglancer_multiscale_volume"
_ENCODINGS = ("raw", "jpeg", "png", "compressed_segmentation")
_PACKED = (".gz", ".br", ".zst", ".zstd", ".xz", ".bz2")


def open_precomputed(path: Place, scale: str = "", *, reading: Reading = Reading()) -> Image:
    """Open one scale of a precomputed volume; nothing but metadata is read.

    Args:
        path: The folder with the file `info`, or the folder of a scale in it.
        scale: Key of a scale, such as '8_8_40'; empty means the finest, which is listed first.
        reading: What the person says about it.

    Raises:
        MissingFileError: There is no such scale.
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The metadata are damaged, or it is no volume.
    """
    folder = path
    while not (folder / "info").is_file() and folder != folder.parent:
        folder = folder.parent
    asked = scale or inner_path(path.absolute(), folder.absolute())
    info = load_object(folder / "info")
    level = _scale(folder, info, asked)
    key = str(level["key"])
    array = _open(folder, level)
    _refuse_packed(folder / key)
    where = f"{folder}:/{key}"
    stored = StoredArray(
        where=where,
        axes=axis_names(["c", "z", "y", "x"], Reading(), where),
        shape=array.shape,
        dtype=array.dtype,
        chunks=array.chunks,
        read=array.read,
        details={
            "scale": key,
            "encoding": str(level.get("encoding")),
            "content": str(info.get("type", "image")),
            **({} if holds_chunks(folder / key) else {"note": NO_CHUNKS}),
        },
    )
    if reading.axes is not None:
        raise FormatError(f"{path}: ::axes is not for precomputed volumes, whose axes are always x, y, z; leave it out")
    return open_stored(
        stored, path, format="precomputed", reading=reading, calibration=_calibration(level, info["scales"][0])
    )


def _scale(folder: Place, info: Mapping[str, Any], asked: str) -> Mapping[str, Any]:
    file = folder / "info"
    kind = info.get("@type", _VOLUME)
    if kind != _VOLUME:
        raise FormatError(f"{file}: describes '{kind}', which is no volume; name an image or a segmentation")
    scales = info.get("scales")
    if not isinstance(scales, list) or not all(isinstance(one, dict) and _is_name(one.get("key")) for one in scales):
        raise FormatError(f"{file}: its list of scales is damaged; copy it again from its source")
    if not scales:
        raise FormatError(f"{file}: lists no scales (resolutions), so it has no voxels; copy it again from its source")
    found = next((one for one in scales if str(one["key"]).strip("/") == asked.strip("/")), None)
    if found is None and asked:
        keys = ", ".join(f"{folder}:/{one['key']}" for one in scales[:8])
        raise MissingFileError(f"{folder}: has no scale '{asked}'; its scales are {keys}")
    level: Mapping[str, Any] = found or scales[0]
    if level.get("encoding") not in _ENCODINGS:
        raise FormatError(
            f"{file}: the encoding '{level.get('encoding')}' of scale '{level['key']}' is not read; write the volume "
            f"again as {', '.join(_ENCODINGS)}"
        )
    return level


def _is_name(key: object) -> bool:
    """Whether a scale's key can be the name of a folder: no NUL, nothing that no file system writes."""
    return isinstance(key, str) and key.isprintable()


def _open(folder: Place, level: Mapping[str, Any]) -> LazyArray:
    """The voxels as channel, z, y, x, counted from 0."""
    size = level.get("size")
    if isinstance(size, list) and 0 in size:
        raise FormatError(f"{folder / 'info'}: scale '{level['key']}' of size {size} holds no voxels")
    spec = {"driver": "neuroglancer_precomputed", "scale_metadata": {"key": level["key"]}}
    try:
        store = open_store(spec, folder)
        return lazy_array(store[tensorstore.d[:].translate_to[0]].T, f"{folder}:/{level['key']}")
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(
            f"{folder / 'info'}: does not describe a precomputed volume, the metadata are damaged: {reason(error)}. "
            "Copy it again from its source"
        ) from error


def _refuse_packed(folder: Place) -> None:
    """Chunks under another name would count as missing, and every voxel as 0."""
    if isinstance(folder, Address) or not folder.is_dir():
        return
    with os.scandir(folder) as entries:  # not all of them: there may be millions, and one program wrote them
        packed = next((entry.name for entry in islice(entries, 100) if entry.name.endswith(_PACKED)), None)
    if packed is not None:
        raise FormatError(
            f"{folder / packed}: the chunks are packed once more, as cloud-volume does, and are not read so; "
            f"unpack them (for .gz: gunzip -r {folder})"
        )


def _calibration(level: Mapping[str, Any], finest: Mapping[str, Any]) -> Calibration:
    """Voxel size and origin of a scale. Offsets are of corners, which all scales share: the centre of a coarser voxel
    lies half the difference of the sizes further."""
    found, fine = _resolution(level), _resolution(finest)
    start = level.get("voxel_offset", [0, 0, 0])
    if found.voxel_size_nm is None or not isinstance(start, list) or len(start) != 3:
        return found
    if not all(isinstance(at, int | float) and abs(at) < 2**62 for at in start):
        return found
    edges = zip(start[::-1], found.voxel_size_nm, fine.voxel_size_nm or found.voxel_size_nm, strict=True)
    z0, y0, x0 = (at * edge + (edge - least) / 2 for at, edge, least in edges)
    return Calibration(found.voxel_size_nm, (z0, y0, x0))


def _resolution(level: Mapping[str, Any]) -> Calibration:
    resolution = level.get("resolution")
    if not isinstance(resolution, list) or len(resolution) != 3:
        return Calibration(note="the metadata give no resolution")
    x, y, z = (to_nm(edge, "nm") for edge in resolution)
    return calibrate((z, y, x))
