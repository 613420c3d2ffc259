"""What the values of a TIFF page mean: which end is white, colours, transparency, palettes.

Values are given as the tags say they are shown, as Pillow, libtiff and Bio-Formats do:

- *WhiteIsZero* (scanners, faxes, MATLAB's logical masks): whole numbers are counted from white, so a stored value v of
  b bits is read as 2^b - 1 - v, whatever the width and whether it is an image or a mask. Otherwise the background of a
  mask would be taken for the structure. ImageJ is the exception: it writes this tag for any image with an inverting
  look-up table, and what it measures, and calls 255 in a mask, are the stored values; those of its own files are kept.
  Floats and signed values have no largest value to count from, and are refused.
- *RGB* is a colour image only for unsigned values of 8 or 16 bits, three samples, and a fourth that is called alpha.
- Premultiplied (*associated*) alpha is divided out, so that a colour is the same wherever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cristae.data.formats.orientation import orientation_text
from cristae.data.formats.tiff_tags import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    FILL_ORDER,
    PLANAR,
    ROWS,
    SAMPLE_FORMAT,
    TILE_LENGTH,
    TILE_WIDTH,
    PageTags,
)
from cristae.errors import FormatError

WHITE_IS_ZERO, GREY, RGB, PALETTE, MASK, YCBCR = 0, 1, 2, 3, 4, 6
_READ = frozenset({WHITE_IS_ZERO, GREY, RGB, PALETTE, MASK, YCBCR, 34892, 51177, 52527})
"""Beyond the names above: linear raw, depth map and semantic mask of DNG, which are plain values."""
_JPEG = frozenset({6, 7, 33007, 34892})
_NAMES = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "Bayer mosaic", 32844: "LogL", 32845: "LogLuv"}
_ASSOCIATED, _UNASSOCIATED = 1, 2


def check_values(path: Path, tags: PageTags, page: Any, *, imagej: bool) -> np.dtype[Any]:
    """The type of the values as stored, with byte order, of a page whose values can be read as what they mean.

    Raises:
        FormatError: They are complex, of mixed widths, or of a colour space other than RGB.
    """
    kind, where = tags.photometric, f"{path}"
    formats = {4: "undefined", 5: "complex", 6: "complex"}
    if (stated := tags.one(SAMPLE_FORMAT, 1)) in formats:
        raise FormatError(
            f"{where}: holds {formats[stated]} values, which are no grey values; save integers or floats, "
            "for instance the magnitude"
        )
    dtype = page.dtype
    if dtype is None or np.dtype(dtype).kind not in "iufb":
        bits = ", ".join(map(str, sorted(set(tags.values.get(BITS, (1,))))))
        raise FormatError(
            f"{where}: holds values of {bits} bits, which cannot be read; save 8 or 16 bits, or 32-bit floats"
        )
    if kind not in _READ or (kind == YCBCR and tags.one(COMPRESSION, 1) not in _JPEG):
        name = "YCbCr" if kind == YCBCR else _NAMES.get(kind, f"unknown (photometric {kind})")
        raise FormatError(f"{where}: its colours are {name}, which are not read; save it as grey values or RGB")
    if kind == PALETTE and tags.samples > 1:
        raise FormatError(f"{where}: has a palette and {tags.samples} samples for each pixel; save it as RGB")
    if kind == WHITE_IS_ZERO and np.dtype(dtype).kind not in "ub" and not imagej:
        raise FormatError(
            f"{where}: is tagged WhiteIsZero (small values are white), and {np.dtype(dtype)} values cannot be inverted "
            "for certain; save it as BlackIsZero, with the values as you want them read"
        )
    stored: np.dtype[Any] = np.dtype(dtype).newbyteorder(page.parent.byteorder)
    return stored


def color_samples(tags: PageTags, dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Which samples of a pixel make its colour; none where the samples are channels or there is one only."""
    extra = tags.values.get(EXTRA_SAMPLES, ())
    if dtype.kind != "u" or dtype.itemsize > 2:
        return ()
    alpha = bool(extra) and extra[0] in (_ASSOCIATED, _UNASSOCIATED)
    base = 3 if tags.photometric in (RGB, YCBCR) else 1
    if tags.samples == base + 1 and alpha:
        return tuple(range(base + 1))
    # A fourth sample of no stated meaning is padding for most programs.
    return tuple(range(3)) if base == 3 and 3 <= tags.samples <= 4 else ()


def sample_names(tags: PageTags) -> tuple[str, ...]:
    """Names of the samples of a pixel, as far as the tags say them."""
    names = ("red", "green", "blue") if tags.photometric in (RGB, YCBCR) else ("grey",)
    extra = ["alpha" if kind in (_ASSOCIATED, _UNASSOCIATED) else "" for kind in tags.values.get(EXTRA_SAMPLES, ())]
    return (*names, *extra, *[""] * tags.samples)[: tags.samples]


def is_premultiplied(tags: PageTags) -> bool:
    """Whether colours are stored multiplied by their alpha."""
    return tags.values.get(EXTRA_SAMPLES, (0,))[0] == _ASSOCIATED


def keeps_white(tags: PageTags, *, imagej: bool) -> bool:
    """Whether the stored values of a page are those that its program measures, though it shows 0 as white."""
    return imagej and tags.photometric == WHITE_IS_ZERO and tags.one(BITS, 1) >= 8


def inverter(tags: PageTags, dtype: np.dtype[Any]) -> Callable[[np.ndarray], np.ndarray] | None:
    """What turns values counted from white into values counted from black; None where they are."""
    if tags.photometric != WHITE_IS_ZERO or dtype.kind not in "ub":
        return None
    bits = tags.one(BITS, 1)
    native = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
    white = native.type(2**bits - 1)
    return lambda values: white - values


def divide_alpha(colors: np.ndarray) -> np.ndarray:
    """Colours (..., colours and alpha last) that were stored multiplied by their alpha; 0 where it is 0.

    Example:
        >>> divide_alpha(np.array([[50, 128], [200, 255], [9, 0]], np.uint8))
        array([[ 99, 128],
               [200, 255],
               [  0,   0]], dtype=uint8)
    """
    alpha = colors[..., -1:]
    full = int(np.iinfo(colors.dtype).max)
    wide = colors[..., :-1].astype(np.uint32) * np.uint32(full) // np.maximum(alpha, 1)
    whole = np.where(alpha == 0, 0, np.minimum(wide, full)).astype(colors.dtype)
    return np.concatenate([whole, alpha], axis=-1)


def type_text(tags: PageTags) -> str:
    """The type of the values, for messages."""
    bits = sorted(set(tags.values.get(BITS, (1,))))
    kind = {1: "unsigned", 2: "signed", 3: "float"}.get(tags.one(SAMPLE_FORMAT, 1), "other")
    return f"{kind} values of {', '.join(map(str, bits))} bit{'' if bits == [1] else 's'}"


def kind_text(tags: PageTags) -> str:
    """What the values of a pixel are, for messages."""
    plain = "a palette" if tags.photometric == PALETTE else "grey values"
    if tags.samples == 1:
        return plain
    planar = ", plane by plane" if tags.one(PLANAR, 1) == 2 else ""
    return f"{', '.join(name or 'an unnamed sample' for name in sample_names(tags))}{planar}"


def storage_text(tags: PageTags) -> str:
    """How pixels are packed, for messages."""
    if tags.one(TILE_WIDTH, 0):
        return f"{_compression(tags)} tiles of {tags.one(TILE_LENGTH, 0)} x {tags.one(TILE_WIDTH, 0)} pixels"
    return f"{_compression(tags)} strips of {tags.one(ROWS, tags.size[0])} rows"


def value_details(tags: PageTags, *, imagej: bool) -> dict[str, str]:
    """What `inspect` shows of the tags that change what a value means."""
    bits = tags.values.get(BITS, (1,))
    details = {"compression": _compression(tags), "bits": str(bits[0]) if len(set(bits)) == 1 else str(bits)}
    if tags.orientation != 1:
        details["orientation"] = orientation_text(tags.orientation)
    if tags.photometric == WHITE_IS_ZERO:
        details["photometric"] = (
            "0 is shown white (ImageJ's inverting look-up table); values are those that ImageJ measures"
            if keeps_white(tags, imagej=imagej)
            else "0 is stored as white; values are inverted, as they are shown"
        )
    if tags.photometric == PALETTE:
        details["palette"] = f"{len(tags.palette)} colours" if tags.palette else "missing; values are its indices"
    if "alpha" in sample_names(tags):
        how = "premultiplied, divided out" if is_premultiplied(tags) else "not premultiplied"
        details["alpha"] = f"alpha channel, {how}; 0 is transparent"
    if tags.one(FILL_ORDER, 1) == 2:
        details["fill order"] = "2: lowest bit first"
    return details


def _compression(tags: PageTags) -> str:
    code = tags.one(COMPRESSION, 1)
    try:
        return str(tifffile.COMPRESSION(code).name.lower())
    except ValueError:
        return f"unknown ({code})"
