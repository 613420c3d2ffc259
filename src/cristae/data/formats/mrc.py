"""MRC / CCP4 volumes as the microscopy field writes them, with IMOD's habits.

Cheng et al. (2015), MRC2014, https://doi.org/10.1016/j.jsb.2015.04.002; https://bio3d.colorado.edu/imod/doc/mrc_format.txt
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.formats.mapped import require_whole
from cristae.data.formats.paths import require_content
from cristae.data.formats.stream import bands
from cristae.data.formats.units import Calibration, calibrate, is_of_microscope, to_nm
from cristae.data.image import NO_SHIFT_NM, Image, VoxelSize
from cristae.errors import FormatError
from cristae.progress import Task

HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817
_BIG_STAMP = b"\x11\x11"
_SIGNED, _INVERTED_ORIGIN, _NIBBLES = 1, 4, 16
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_RGB = 16
_UNREADABLE = {
    3: ("complex integers", "transform it back"),
    4: ("complex floats, a Fourier transform", "transform it back: fftrans in.mrc out.mrc"),
    101: ("4-bit values", "convert it: newstack -mode 1 in.mrc out.mrc"),
}
_STACKS = range(401, 631)
"""Space groups of files that hold several volumes."""
_TILTS = (".mdoc", ".rawtlt", ".tlt")
"""Files that SerialEM and IMOD put beside a tilt series."""
_LABEL = "Cristae"
_WIDENED = "Cristae: 8-bit unsigned values in mode 6"

HEADER = np.dtype(
    [
        ("n", "i4", 3), ("mode", "i4"), ("start", "i4", 3), ("m", "i4", 3), ("cell", "f4", 3), ("angles", "f4", 3),
        ("map", "i4", 3), ("low", "f4"), ("high", "f4"), ("mean", "f4"), ("space_group", "i4"), ("extended", "i4"),
        ("extra1", "V8"), ("extended_kind", "S4"), ("version", "i4"), ("extra2", "V40"), ("imod_stamp", "i4"),
        ("imod_flags", "i4"), ("extra3", "V36"), ("origin", "f4", 3), ("id", "S4"), ("machine", "u1", 4), ("rms", "f4"),
        ("n_labels", "i4"), ("labels", "S80", 10),
    ]
)  # fmt: skip
"""The 1024 bytes at the start of the file; triples are in (x, y, z), lengths in Angstrom."""


@dataclass(frozen=True)
class Layout:
    """Where and how the voxels lie in the file."""

    dtype: np.dtype[Any]
    offset: int
    stored: Triple
    """Sections, rows and columns as stored, slowest first."""
    order: Triple
    """Which of the stored axes are z, y and x."""
    mode_note: str
    widened: bool
    """Whether 8-bit values were written as mode 6, which has no unsigned bytes of its own."""
    colors: int = 1


def open_mrc(path: Path, *, signed: bool | None = None) -> Image:
    """Open an MRC file through a memory map.

    A voxel of exactly 1 Angstrom on all axes is what many programs write when they know nothing, so it counts as
    unknown unless Cristae wrote the file. The order of rows is that of the file.

    Args:
        path: The file.
        signed: Whether 8-bit values are signed, where a person says it.

    Raises:
        FormatError: The header makes no sense, the mode cannot be read, or the file is truncated.
    """
    size = require_content(path, at_least=HEADER_BYTES)
    header = _read_header(path, size)
    layout = _layout(path, header, signed)
    shape = tuple(layout.stored[axis] for axis in layout.order)
    stored = layout.stored if layout.colors == 1 else (*layout.stored, layout.colors)
    need = layout.offset + math.prod(stored) * layout.dtype.itemsize
    if size < need:
        raise FormatError(
            f"{path}: is truncated or damaged: the header says {' x '.join(map(str, shape))} voxels (z, y, x), which"
            f" take {need} bytes, but the file has {size}"
        )
    mapped = np.memmap(path, layout.dtype, "r", layout.offset, stored)
    voxels = mapped.transpose(layout.order if layout.colors == 1 else (*layout.order, 3))
    native = np.dtype(np.uint8) if layout.widened else layout.dtype.newbyteorder("=")

    def read(box: Box) -> np.ndarray:
        require_whole(mapped, path)
        return np.array(voxels[box.slices], dtype=native, order="C")

    found = _calibration(path, header)
    axes = "".join("zyx"[layout.order.index(stored)] for stored in range(3))
    details = {"mode": layout.mode_note, "axes": axes}
    if found.note:
        details["voxel size"] = found.note
    if views := _may_be_views(path, header):
        details["note"] = f"{views}, so this may be a tilt series: its slices are then views, not sections of a volume"
    if header["extended"] > 0:
        details["extended header"] = f"{int(header['extended'])} bytes {_extended_kind(header) or 'of unknown kind'}"
    return Image(
        path=path,
        format="mrc",
        shape=(shape[0], shape[1], shape[2]),
        dtype=native,
        reader=read,
        colors=layout.colors,
        chunks=(1, shape[1], shape[2]),
        voxel_size_nm=found.voxel_size_nm,
        origin_nm=found.origin_nm,
        details=details,
    )


def write_mrc(image: Image, path: Path, task: Task) -> None:
    """Write an MRC2014 file slice by slice; 8-bit unsigned values become mode 6, so that every reader sees them right.

    Raises:
        FormatError: MRC has no mode for the image's type or colours.
    """
    stored = mrc_dtype(image)
    with path.open("wb") as file:
        file.write(np.zeros(HEADER_BYTES, np.uint8).tobytes())
        low, high, mean, rms = _write_slices(image, file, stored, task)
        header = _new_header(image, stored)
        header["low"], header["high"], header["mean"], header["rms"] = low, high, mean, rms
        file.seek(0)
        file.write(header.tobytes())


def mrc_dtype(image: Image) -> np.dtype[Any]:
    """How the image's values are stored.

    Raises:
        FormatError: MRC has no mode for them.
    """
    kind = "u2" if image.dtype == np.uint8 else image.dtype.str[1:]
    if image.colors > 1:
        raise FormatError(
            f"{image.path}: holds {image.colors} colours in {' x '.join(map(str, image.shape))} voxels (z, y, x), and"
            " MRC has no colours; write .tif, .h5 or .zarr instead. If these are grey slices, the file marks them as"
            " colours: save it again as a grey stack"
        )
    if kind not in _MODES.values():
        raise FormatError(
            f"{image.path}: MRC has no mode for {image.dtype} values, only int8, uint8, int16, uint16, float16 and"
            " float32; write .h5 or .zarr instead"
        )
    return np.dtype(f"<{kind}")


def _read_header(path: Path, size: int) -> np.void:
    """The header in its byte order: that of the machine stamp, or else the one in which it makes sense."""
    with path.open("rb") as file:
        content = file.read(HEADER_BYTES)
    little: np.void = np.frombuffer(content, HEADER.newbyteorder("<"))[0]
    big: np.void = np.frombuffer(content, HEADER.newbyteorder(">"))[0]
    orders = [big, little] if bytes(little["machine"])[:2] == _BIG_STAMP else [little, big]
    # The stamp is often missing or wrong, and in mode 0 sides such as 256 look sensible in both orders.
    for makes_sense in (lambda header: _is_sensible(header) and _fits(header, size), _is_sensible):
        for header in orders:
            if makes_sense(header):
                return header
    raise FormatError(
        f"{path}: is not an MRC file, or its header is damaged: mode {int(little['mode'])}, size {little['n'].tolist()}"
    )


def _is_sensible(header: np.void) -> bool:
    columns, rows, _ = (int(n) for n in header["n"])
    return 0 <= int(header["mode"]) <= 101 and 0 < columns < 2**24 and rows < 2**24


def _fits(header: np.void, size: int) -> bool:
    """Whether the axes are named and the voxels fit in a file of `size` bytes."""
    mode = int(header["mode"])
    itemsize = np.dtype(_MODES[mode]).itemsize if mode in _MODES else 3 if mode == _RGB else 1
    need = HEADER_BYTES + int(header["extended"]) + itemsize * math.prod(int(n) for n in header["n"])
    return need <= size and sorted(int(axis) for axis in header["map"]) in ([1, 2, 3], [0, 0, 0])


def _layout(path: Path, header: np.void, signed: bool | None) -> Layout:
    columns, rows, sections = (int(n) for n in header["n"])
    if min(columns, rows, sections) < 1:
        raise FormatError(f"{path}: the header says {columns} x {rows} x {sections} voxels, which is no volume")
    if not 0 <= int(header["extended"]) < 2**31 - HEADER_BYTES:
        raise FormatError(f"{path}: the header is damaged: an extended header of {int(header['extended'])} bytes")
    mode = int(header["mode"])
    flags = int(header["imod_flags"]) if int(header["imod_stamp"]) == _IMOD_STAMP else None
    nibbles = mode == 0 and flags is not None and bool(flags & _NIBBLES)
    if nibbles or mode not in (*_MODES, _RGB):
        what, cure = _UNREADABLE.get(101 if nibbles else mode, ("unknown values", "convert it to mode 0, 1, 2 or 6"))
        raise FormatError(f"{path}: mode {mode} ({what}) holds no grey values; {cure}")
    if signed is not None and mode != 0:
        raise FormatError(f"{path}: ::signed is for 8-bit values (mode 0), but this file has mode {mode}; leave it out")
    if (volumes := _volumes(header)) > 1:
        raise FormatError(
            f"{path}: holds {volumes} volumes of {sections // volumes} sections each (space group "
            f"{int(header['space_group'])}); save one: newstack -secs 0-{sections // volumes - 1} in.mrc out.mrc"
        )
    colors = 3 if mode == _RGB else 1
    kind, note = _signedness(header, flags, signed) if mode == 0 else (_MODES.get(mode, "u1"), f"mode {mode}")
    dtype = np.dtype(kind).newbyteorder(header.dtype["mode"].byteorder)
    axes = [int(axis) for axis in header["map"]]
    axes = [1, 2, 3] if axes == [0, 0, 0] else axes
    if sorted(axes) != [1, 2, 3]:
        raise FormatError(f"{path}: the header is damaged: axes {axes} should be 1, 2 and 3 in some order")
    slowest_first = axes[::-1]
    order = (slowest_first.index(3), slowest_first.index(2), slowest_first.index(1))
    stored = (sections, rows, columns)
    widened = mode == 6 and _WIDENED in _labels(header)
    return Layout(dtype, HEADER_BYTES + int(header["extended"]), stored, order, note, widened, colors)


def _signedness(header: np.void, flags: int | None, signed: bool | None) -> tuple[str, str]:
    """Mode 0 is signed by the standard, but older programs wrote unsigned bytes; the header says which where it can."""
    if signed is not None:
        return ("i1", "mode 0, signed as stated") if signed else ("u1", "mode 0, unsigned as stated")
    if flags is not None:
        return ("i1", "mode 0, signed (IMOD flag)") if flags & _SIGNED else ("u1", "mode 0, unsigned (IMOD flag)")
    low, high = float(header["low"]), float(header["high"])
    if 0 <= low < high <= 255 and high > 127:
        return "u1", f"mode 0, unsigned: the header's range {low:g} to {high:g} does not fit signed bytes"
    return "i1", "mode 0, signed"


def _labels(header: np.void) -> list[str]:
    return [bytes(label).decode("ascii", "replace").strip("\0 ") for label in header["labels"]]


def _volumes(header: np.void) -> int:
    """How many volumes a stack of volumes holds; 1 for every other file."""
    sections, each = int(header["n"][2]), int(header["m"][2])
    is_stack = int(header["space_group"]) in _STACKS and 0 < each < sections and sections % each == 0
    return sections // each if is_stack else 1


def _calibration(path: Path, header: np.void) -> Calibration:
    edges = [float(c) / int(m) if int(m) > 0 else 0.0 for c, m in zip(header["cell"], header["m"], strict=True)]
    # float32 holds 7 digits; the rest is noise that would make 4.6 nm into 4.599999904632568 nm.
    sizes = [to_nm(f"{edge:.7g}", "A") if np.isfinite(edge) else None for edge in edges]
    ours = any(label.startswith(_LABEL) for label in _labels(header))
    unset = [not ours and abs(edge - 1) < 1e-6 for edge in edges]
    if not is_of_microscope(sizes):
        said = " x ".join(f"{edge:g}" for edge in edges)
        return Calibration(note=f"the header says {said} Angstrom (x, y, z), which is no voxel of a microscope")
    if all(unset) or not any(sizes):
        note = "1 Angstrom on all axes, which is what programs write when they do not know" if all(unset) else ""
        return calibrate([None, *_extended_size(path, header)], note=note)
    if any(unset):
        known = ", ".join(
            f"{axis} {size:g} nm" for axis, size, no in zip("xyz", sizes, unset, strict=True) if size and not no
        )
        return Calibration(
            note=f"incomplete: the file only says {known}, and 1 Angstrom for the rest, which is no size"
        )
    found = calibrate(sizes[::-1])
    return replace(found, origin_nm=_origin(header, found.voxel_size_nm))


def _extended_size(path: Path, header: np.void) -> list[float | None]:
    """Pixel size (y, x) in the extended header of Thermo Fisher's microscopes, which write it in metres."""
    kind = _extended_kind(header)
    if kind not in ("FEI1", "FEI2"):
        return [None, None]
    import mrcfile  # few files need it

    layout = mrcfile.dtypes.get_ext_header_dtype(kind.encode(), header.dtype["mode"].byteorder)
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        content = file.read(min(layout.itemsize, int(header["extended"])))
    if len(content) < layout.itemsize:
        return [None, None]
    first = np.frombuffer(content, layout)[0]
    return [to_nm(f"{float(first[f'Pixel size {axis}']):.7g}", "m") for axis in "YX"]


def _may_be_views(path: Path, header: np.void) -> str:
    """Why the slices may be the views of a tilt series; empty where nothing says so."""
    if int(header["n"][2]) < 2:
        return ""
    beside = next((end for end in _TILTS for name in (path.name, path.stem) if path.with_name(name + end).exists()), "")
    if beside:
        return f"a {beside} file is beside it"
    if _extended_kind(header) in ("SERI", "FEI1", "FEI2"):
        return f"its extended header ({_extended_kind(header)}) describes each slice by itself"
    return f"its name ends in {path.suffix}" if path.suffix.lower() in (".st", ".mrcs") else ""


def _extended_kind(header: np.void) -> str:
    return bytes(header["extended_kind"]).decode("ascii", "replace").strip("\0 ") if header["extended"] > 0 else ""


def _origin(header: np.void, voxel_size_nm: VoxelSize | None) -> VoxelSize | None:
    """Where the volume begins; all zeros is what programs write that do not know."""
    inverted = int(header["imod_stamp"]) == _IMOD_STAMP and int(header["imod_flags"]) & _INVERTED_ORIGIN
    x, y, z = (float(f"{float(o):.7g}") / 10 if np.isfinite(o) else 0.0 for o in header["origin"])
    if inverted:
        return -z, -y, -x
    if x == y == z == 0.0 and voxel_size_nm is not None and sorted(map(int, header["map"])) == [1, 2, 3]:
        start = {int(axis): int(first) for axis, first in zip(header["map"], header["start"], strict=True)}
        z, y, x = (start[axis] * edge for axis, edge in zip((3, 2, 1), voxel_size_nm, strict=True))
    return None if x == y == z == 0.0 else (z, y, x)


def _new_header(image: Image, stored: np.dtype[Any]) -> np.ndarray:
    header = np.zeros((), HEADER.newbyteorder("<"))
    z, y, x = image.shape
    header["n"] = header["m"] = (x, y, z)
    header["mode"] = {code: mode for mode, code in _MODES.items()}[stored.str[1:]]
    size = image.voxel_size_nm or (0.0, 0.0, 0.0)
    header["cell"] = [n * s * 10 for n, s in zip((x, y, z), size[::-1], strict=True)]
    header["origin"] = [o * 10 for o in (image.origin_nm or NO_SHIFT_NM)[::-1]]
    header["angles"] = 90
    header["map"] = (1, 2, 3)
    header["space_group"] = 1
    header["version"] = 20141
    header["id"] = b"MAP "
    header["machine"] = (0x44, 0x44, 0, 0)
    labels = [f"{_LABEL}: voxel size {'in the cell' if image.voxel_size_nm else 'unknown'}"]
    labels += [_WIDENED] if image.dtype == np.uint8 else []
    header["n_labels"] = len(labels)
    header["labels"][: len(labels)] = [label.encode() for label in labels]
    return header


def _write_slices(image: Image, file: BinaryIO, stored: np.dtype[Any], task: Task) -> tuple[float, float, float, float]:
    """Write the voxels; returns their minimum, maximum, mean and standard deviation."""
    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    for box in bands(image):
        voxels = np.ascontiguousarray(image.read(box), dtype=stored)
        file.write(voxels.tobytes())
        low, high = min(low, float(voxels.min())), max(high, float(voxels.max()))
        for pixels in voxels:
            wide = pixels.astype(np.float64)
            total += float(wide.sum())
            squares += float((wide**2).sum())
        task.advance(box.shape[0] if box.stop[1] == image.shape[1] else 0)
    count = float(np.prod(image.shape, dtype=object))
    mean = total / count
    return low, high, mean, max(0.0, squares / count - mean**2) ** 0.5
