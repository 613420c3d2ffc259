"""Single flat images: PNG (1 to 16 bits, palette, alpha), BMP and JPEG."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin
from PIL.ImageFile import ImageFile

from cristae.data.box import Box
from cristae.data.formats.cache import DECODED, file_key
from cristae.data.formats.paths import require_content
from cristae.data.image import Image
from cristae.errors import CristaeError, FormatError

MAX_BYTES = 2**31
"""Larger flat images are refused: they have to be decoded whole to read one voxel."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# Deflate cannot shrink data more than 1032 times, so a header that promises more is a lie.
_DEFLATE_LIMIT = 1032
_COLORS = {"1": 1, "L": 1, "P": 1, "I;16": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_PNG_COLORS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class Header:
    """What the first bytes of a flat image say."""

    height: int
    width: int
    colors: int
    dtype: np.dtype[Any]
    bits: int
    """Bits of each sample in the file."""
    palette: tuple[str, ...] | None
    kind: str
    """'png', 'bmp' or 'jpeg'."""


def open_flat(path: Path) -> Image:
    """Open one flat image as a stack of one slice.

    Raises:
        FormatError: The file is damaged, or is not what its name says.
    """
    header = read_header(path)
    details = {"bits": str(header.bits)} | ({"palette": f"{len(header.palette)} colours"} if header.palette else {})

    def read(box: Box) -> np.ndarray:
        pixels = decode_flat(path, header)
        return pixels[box.slices[1:]][None][: box.shape[0]].copy()

    return Image(
        path=path,
        format=header.kind,
        shape=(1, header.height, header.width),
        dtype=header.dtype,
        reader=read,
        colors=header.colors,
        chunks=(1, header.height, header.width),
        slice_names=(path.stem,),
        palette=header.palette,
        details=details,
    )


def read_header(path: Path) -> Header:
    """Size, type and palette of a flat image, without decoding it."""
    size = require_content(path, at_least=26)
    try:
        header = _read_png_header(path) if path.suffix.lower() == ".png" else _read_other_header(path)
    except CristaeError:
        raise
    except Exception as error:
        # Pillow's plugins raise whatever the damaged bytes make them stumble over.
        raise FormatError(f"{path}: is not a readable {path.suffix[1:].upper()} image: {error}") from error
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
            _check_png(path, content)
        if header.kind == "jpeg" and b"\xff\xd9" not in content[-4096:]:
            raise FormatError(f"{path}: is truncated: the JPEG has no end marker")
        pixels = _decode_png16(content) if _needs_imagecodecs(header) else _decode_pillow(content, header)
    except CristaeError:
        raise
    except Exception as error:
        raise FormatError(f"{path}: does not decode, the file is truncated or damaged: {error}") from error
    shape = (header.height, header.width) + ((header.colors,) if header.colors > 1 else ())
    if pixels.shape != shape or pixels.dtype != header.dtype:
        raise FormatError(f"{path}: decodes to {pixels.shape} {pixels.dtype}; the header says {shape} {header.dtype}")
    return pixels


def _needs_imagecodecs(header: Header) -> bool:
    # Pillow cuts 16-bit colour down to 8 bits.
    return header.bits == 16 and header.colors > 1


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
        palette = _palette(_plugin("png", file)) if kind == 3 else None
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    return Header(height, width, _PNG_COLORS[kind], dtype, bits, palette, "png")


def _read_other_header(path: Path) -> Header:
    kind = "bmp" if path.suffix.lower() == ".bmp" else "jpeg"
    with path.open("rb") as file:
        image = _plugin(kind, file)
        if image.mode not in _COLORS:
            raise FormatError(f"{path}: colour mode {image.mode} is not supported; save it as PNG or TIFF")
        palette = _palette(image) if image.mode == "P" else None
        bits = 1 if image.mode == "1" else 8
        return Header(image.height, image.width, _COLORS[image.mode], np.dtype(np.uint8), bits, palette, kind)


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


def _check_png(path: Path, content: bytes) -> None:
    """Walk the chunks and their checksums: the decoder itself overlooks damage near the end."""
    at = len(_PNG_START)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 12 + length
        if end > len(content):
            break
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            raise FormatError(f"{path}: is damaged: the checksum at byte {at} does not fit")
        if content[at:end] == _PNG_END:
            return
        at = end
    raise FormatError(f"{path}: is truncated: the PNG ends at byte {len(content)} before its last part")
