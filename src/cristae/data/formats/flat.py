"""Single flat images: PNG (1 to 16 bits, palette, alpha), BMP and JPEG.

They are read as they are shown: turned as EXIF says, and with the transparency that PNG states for one grey value or
colour as an alpha channel. Palette images give their indices, whatever transparency the palette has.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import BmpImagePlugin, ExifTags, JpegImagePlugin, PngImagePlugin
from PIL.Image import Exif
from PIL.ImageFile import ImageFile

from cristae.data.box import Box
from cristae.data.formats.cache import DECODED, file_key
from cristae.data.formats.orientation import ORIENTATIONS, orientation_text
from cristae.data.formats.paths import Reading, require_content
from cristae.data.formats.stored import chosen_channel
from cristae.data.formats.units import calibrate, to_nm
from cristae.data.image import Image
from cristae.errors import CristaeError, FormatError

MAX_BYTES = 2**31
"""Larger flat images are refused: they have to be decoded whole to read one voxel."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# Deflate cannot shrink data more than 1032 times, so a header that promises more is a lie.
_DEFLATE_LIMIT = 1032
_LARGEST_PIXEL_NM = 1_000.0
_COLORS = {"1": 1, "L": 1, "P": 1, "I;16": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_PNG_COLORS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class Header:
    """What the first bytes of a flat image say."""

    height: int
    """As shown."""
    width: int
    colors: int
    dtype: np.dtype[Any]
    bits: int
    """Bits of each sample in the file."""
    palette: tuple[str, ...] | None
    kind: str
    """'png', 'bmp' or 'jpeg'."""
    orientation: int = 1
    """As EXIF numbers it."""
    transparent: tuple[int, ...] | None = None
    """The grey value or colour that counts as transparent, and makes an alpha channel."""
    details: Mapping[str, str] = field(default_factory=dict)


def open_flat(path: Path, reading: Reading = Reading()) -> Image:
    """Open one flat image as a stack of one slice.

    Raises:
        ChannelError: The chosen channel is not there.
        FormatError: The file is damaged, or is not what its name says.
    """
    header = read_header(path)

    def read(box: Box) -> np.ndarray:
        pixels = decode_flat(path, header)
        return pixels[box.slices[1:]][None][: box.shape[0]].copy()

    image = Image(
        path=path,
        format=header.kind,
        shape=(1, header.height, header.width),
        dtype=header.dtype,
        reader=read,
        colors=header.colors,
        chunks=(1, header.height, header.width),
        slice_names=(path.stem,),
        palette=header.palette,
        details={"bits": str(header.bits), **header.details},
    )
    return as_read(image, reading)


def as_read(image: Image, reading: Reading) -> Image:
    """An image whose file names its own axes, with what the person says: one sample of its colours, at most.

    Raises:
        ChannelError: The chosen channel is not there.
        FormatError: The person says what does not apply to this file.
    """
    if reading.signed is not None or reading.axes is not None:
        what, where = ("::signed", "8-bit MRC")
        if reading.signed is None:
            what, where = ("::axes", "HDF5, Zarr, N5, NIfTI, NPY and TIFF")
        raise FormatError(f"{image.path}: {what} is for {where} files; leave it out")
    if reading.channel is None or (reading.channel == "color" and image.colors > 1):
        return image
    channel = chosen_channel(str(image.path), reading, ("",) * image.colors)
    return image if image.colors == 1 else image.map(lambda voxels: voxels[..., channel], image.dtype)


def read_header(path: Path) -> Header:
    """Size, type and palette of a flat image, without decoding it."""
    size = require_content(path, at_least=26)
    try:
        header = _read_png_header(path) if path.suffix.lower() == ".png" else _read_other_header(path)
    except CristaeError:
        raise
    except Exception as error:
        # Pillow's plugins raise whatever the damaged bytes make them stumble over.
        kind = path.suffix[1:].upper()
        raise FormatError(
            f"{path}: is not a readable {kind} image, or is damaged; copy or export it again ({error})"
        ) from error
    nbytes = header.height * header.width * header.colors * header.bits // 8
    if nbytes == 0:
        raise FormatError(f"{path}: the header says {header.width} x {header.height} pixels, which is no image")
    if header.kind != "jpeg" and nbytes > (size + 1024) * _DEFLATE_LIMIT:
        raise FormatError(
            f"{path}: the header says {header.width} x {header.height} pixels, but {size} bytes cannot hold"
            " that many; the file is damaged"
        )
    if nbytes > MAX_BYTES:
        raise FormatError(
            f"{path}: {header.width} x {header.height} pixels are too many for one flat image; save it as tiled"
            " TIFF or OME-Zarr, which can be read in parts"
        )
    return header


def decode_flat(path: Path, header: Header) -> np.ndarray:
    """The pixels, read-only: (Y, X), or (Y, X, colors); kept in memory for the next caller.

    Raises:
        FormatError: The file is truncated or corrupt.
    """
    return DECODED.get((*file_key(path), "flat"), lambda: _decode(path, header))


def _decode(path: Path, header: Header) -> np.ndarray:
    content = path.read_bytes()
    try:
        if header.kind == "png":
            _check_png(path, content, header.orientation)
        if header.kind == "jpeg" and b"\xff\xd9" not in content[-4096:]:
            raise FormatError(f"{path}: is truncated: the JPEG has no end marker")
        pixels = _decode_png16(content) if _needs_imagecodecs(header) else _decode_pillow(content, header)
    except CristaeError:
        raise
    except Exception as error:
        raise FormatError(
            f"{path}: does not decode, so the file is truncated or damaged; copy or export it again ({error})"
        ) from error
    pixels = ORIENTATIONS[header.orientation].shown(_with_alpha(pixels, header))
    shape = (header.height, header.width) + ((header.colors,) if header.colors > 1 else ())
    if pixels.shape != shape or pixels.dtype != header.dtype:
        raise FormatError(f"{path}: decodes to {pixels.shape} {pixels.dtype}; the header says {shape} {header.dtype}")
    return np.ascontiguousarray(pixels)


def _with_alpha(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Pixels with an alpha channel that is 0 where they have the transparent value."""
    colors = pixels.reshape(*pixels.shape[:2], -1)
    if header.transparent is None or colors.shape[-1] != len(header.transparent):
        # libpng, which decodes 16-bit colours, has made one already.
        return pixels
    opaque = (colors != np.array(header.transparent, colors.dtype)).any(axis=-1)
    alpha = opaque.astype(colors.dtype) * colors.dtype.type(np.iinfo(colors.dtype).max)
    return np.concatenate([colors, alpha[..., None]], axis=-1)


def _needs_imagecodecs(header: Header) -> bool:
    # Pillow cuts 16-bit colour down to 8 bits.
    return header.bits == 16 and header.colors - (header.transparent is not None) > 1


def _decode_png16(content: bytes) -> np.ndarray:
    return np.asarray(imagecodecs.png_decode(content))


def _decode_pillow(content: bytes, header: Header) -> np.ndarray:
    with _plugin(header.kind, BytesIO(content)) as image:
        pixels = np.array(image)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if header.bits in (2, 4) and header.palette is None:
        # Pillow stretches these to 0..255; the values in the file are what a person labelled with.
        return pixels // np.uint8(255 // (2**header.bits - 1))
    return pixels.astype(header.dtype, copy=False)


def _read_png_header(path: Path) -> Header:
    with path.open("rb") as file:
        start = file.read(33)
        if start[:8] != _PNG_START or start[12:16] != b"IHDR":
            raise FormatError(f"{path}: is not a PNG image although its name says so")
        width, height, bits, kind = struct.unpack(">IIBB", start[16:26])
        if kind not in _PNG_COLORS or bits not in (1, 2, 4, 8, 16) or width == 0 or height == 0:
            raise FormatError(f"{path}: the PNG header is damaged ({width} x {height}, {bits} bits, kind {kind})")
        file.seek(0)
        image = _plugin("png", file)
        if getattr(image, "n_frames", 1) > 1:
            raise FormatError(f"{path}: is an animation of several frames; save each as a file of its own")
        palette = _palette(image) if kind == 3 else None
        # Asked for what it has not met yet, Pillow would decode the whole image.
        stated = {"exif", "Raw profile type exif"} & set(image.info)
        orientation = _orientation(image) if stated else 1
        transparent = _transparent(image, kind)
        details = _details(palette, orientation, _PNG_COLORS[kind] in (2, 4), transparent) | _transparency(image, kind)
        details |= _pixel_size(image, orientation)
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    colors = _PNG_COLORS[kind] + (transparent is not None)
    height, width = ORIENTATIONS[orientation].size(height, width)
    return Header(height, width, colors, dtype, bits, palette, "png", orientation, transparent, details)


def _read_other_header(path: Path) -> Header:
    kind = "bmp" if path.suffix.lower() == ".bmp" else "jpeg"
    with path.open("rb") as file:
        image = _plugin(kind, file)
        if image.mode not in _COLORS:
            raise FormatError(f"{path}: colour mode {image.mode} is not supported; save it as PNG or TIFF")
        palette = _palette(image) if image.mode == "P" else None
        bits = 1 if image.mode == "1" else 8
        orientation = _orientation(image) if kind == "jpeg" else 1
        height, width = ORIENTATIONS[orientation].size(image.height, image.width)
        colors = _COLORS[image.mode]
        details = _details(palette, orientation, colors in (2, 4), None)
        dtype = np.dtype(np.uint8)
        return Header(height, width, colors, dtype, bits, palette, kind, orientation, details=details)


def _details(
    palette: tuple[str, ...] | None, orientation: int, alpha: bool, transparent: tuple[int, ...] | None
) -> dict[str, str]:
    """What `inspect` shows of what changes the meaning of a value."""
    details = {}
    if palette:
        details["palette"] = f"{len(palette)} colours"
    if orientation != 1:
        details["orientation"] = orientation_text(orientation)
    if alpha:
        details["alpha"] = "alpha channel, not premultiplied; 0 is transparent"
    if transparent is not None:
        value = transparent[0] if len(transparent) == 1 else transparent
        details["alpha"] = f"alpha channel; the file says that the value {value} is transparent"
    return details


def _orientation(image: ImageFile) -> int:
    """EXIF's number from 1 to 8; 1 where there is none, or EXIF is damaged, as viewers take it."""
    try:
        stated = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (EOFError, KeyError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1
    return stated if stated in ORIENTATIONS else 1


def _transparent(image: ImageFile, kind: int) -> tuple[int, ...] | None:
    """The value that a PNG without a palette calls transparent."""
    stated = image.info.get("transparency")
    if kind not in (0, 2) or stated is None:
        return None
    # Pillow gives that of one bit as 0 or 255.
    grey = int(bool(stated)) if image.mode == "1" else stated
    return (int(grey),) if kind == 0 else tuple(int(value) for value in stated)


def _transparency(image: ImageFile, kind: int) -> dict[str, str]:
    """Indices of a palette that are transparent, for `inspect`; their values stay indices."""
    stated = image.info.get("transparency")
    if kind != 3 or stated is None:
        return {}
    clear = [stated] if isinstance(stated, int) else [i for i, alpha in enumerate(stated) if alpha < 255]
    listed = ", ".join(map(str, clear[:8])) + (" ..." if len(clear) > 8 else "")
    return {"transparent indices": listed} if clear else {}


def _pixel_size(image: ImageFile, orientation: int) -> dict[str, str]:
    """A pixel size that only a microscope can have written; screens and scanners have thousands of nm."""
    if "dpi" not in image.info:
        return {}
    x, y = (to_nm(25_400_000 / dpi, "nm") if dpi > 0 else None for dpi in image.info["dpi"])
    y, x = (x, y) if ORIENTATIONS[orientation].transposed else (y, x)
    if y is None or x is None or max(y, x) > _LARGEST_PIXEL_NM:
        return {}
    return {"voxel size": calibrate((None, float(f"{y:.7g}"), float(f"{x:.7g}"))).note}


def _plugin(kind: str, file: Any) -> ImageFile:
    # The plugin itself, not Image.open: that one guesses the format and warns about images a microscope makes daily.
    plugins: dict[str, type[Any]] = {
        "png": PngImagePlugin.PngImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "jpeg": JpegImagePlugin.JpegImageFile,
    }
    image: ImageFile = plugins[kind](file)
    return image


def _palette(image: ImageFile) -> tuple[str, ...] | None:
    values = image.getpalette("RGB") or []
    return tuple("#{:02x}{:02x}{:02x}".format(*values[i : i + 3]) for i in range(0, len(values) - 2, 3)) or None


def _check_png(path: Path, content: bytes, orientation: int) -> None:
    """Walk the chunks and their checksums: the decoder itself overlooks damage near the end."""
    at = len(_PNG_START)
    late = Exif()
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 12 + length
        if end > len(content):
            break
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            raise FormatError(f"{path}: is damaged: the checksum at byte {at} does not fit")
        if content[at + 4 : at + 8] == b"eXIf":
            late.load(content[at + 8 : end - 4])
            if late.get(ExifTags.Base.Orientation, 1) != orientation:
                raise FormatError(f"{path}: says how it is turned only after its pixels; save it again")
        if content[at:end] == _PNG_END:
            return
        at = end
    raise FormatError(f"{path}: is truncated: the PNG ends at byte {len(content)} before its last part")
