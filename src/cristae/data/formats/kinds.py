"""What a file really is, by its first bytes, and words for the kinds that are not opened.

A file whose name and content disagree is refused with what it is; one of a known but unsupported kind with the way to
a supported one. Nothing is ever unpickled.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from cristae.data.formats.paths import (
    DM_SUFFIXES,
    FLAT_SUFFIXES,
    HDF5_SUFFIXES,
    KNOWN,
    MRC_SUFFIXES,
    NIFTI_SUFFIXES,
    NPY_SUFFIXES,
    TIFF_SUFFIXES,
    require_content,
    suffix_of,
)
from cristae.errors import FormatError


@dataclass(frozen=True)
class Kind:
    """A kind of file that can be told by its first bytes."""

    what: str
    """As a message names it."""
    suffixes: tuple[str, ...]
    """Names under which it is opened; empty where it is not."""
    start: bytes
    at: int = 0
    cure: str = ""
    """What to do with a file of this kind; empty where renaming it is enough."""


_FIJI = "open it in Fiji (File > Import > Bio-Formats) and save it as TIFF, or convert it with bfconvert to .ome.tif"
_SLICER = "convert it in 3D Slicer or ITK-SNAP to .nii, or in Fiji to TIFF"
_UNPACK = "unpack it, and name what is inside"
_PICKLE = "loading it could run any code, so it is not; save the array with numpy.save(..., allow_pickle=False)"
_MATLAB_5 = "only 7.3 is; in MATLAB: load('{name}'); save('{stem}73.mat', 'VARIABLE', '-v7.3')"
_IMOD = "draw it into a volume the size of its image: imodmop -mask 1 {name} IMAGE.mrc {stem}.mrc"
_AMIRA = "export it there as TIFF or MRC"
_NC4 = "convert it with nccopy -k nc4"
_AGAIN = "download it again, after logging in"

KINDS = (
    Kind("an HDF5 file", HDF5_SUFFIXES, b"\x89HDF\r\n\x1a\n"),
    Kind("an HDF5 file", HDF5_SUFFIXES, b"\x89HDF\r\n\x1a\n", 512),
    Kind("a TIFF file", TIFF_SUFFIXES, b"II*\0"),
    Kind("a TIFF file", TIFF_SUFFIXES, b"MM\0*"),
    Kind("a TIFF file", TIFF_SUFFIXES, b"II+\0\x08\0\0\0"),
    Kind("a TIFF file", TIFF_SUFFIXES, b"MM\0+\0\x08\0\0"),
    Kind("a PNG image", (".png",), b"\x89PNG\r\n\x1a\n"),
    Kind("a JPEG image", (".jpg", ".jpeg"), b"\xff\xd8\xff"),
    Kind("a NumPy array", NPY_SUFFIXES, b"\x93NUMPY"),
    Kind("a NIfTI volume", NIFTI_SUFFIXES, b"n+1\0", 344),
    Kind("a NIfTI volume", NIFTI_SUFFIXES, b"n+2\0\r\n\x1a\n", 4),
    Kind("an MRC file", MRC_SUFFIXES, b"MAP ", 208),
    Kind("compressed with gzip", (".nii.gz",), b"\x1f\x8b\x08", cure="run gunzip on it"),
    Kind("compressed with bzip2", (), b"BZh", cure="run bunzip2 on it"),
    Kind("compressed with xz", (), b"\xfd7zXZ\0", cure="run unxz on it"),
    Kind("compressed with Zstandard", (), b"\x28\xb5\x2f\xfd", cure="run unzstd on it"),
    Kind("a ZIP archive", (), b"PK\x03\x04", cure=_UNPACK),
    Kind("a 7-Zip archive", (), b"7z\xbc\xaf\x27\x1c", cure=_UNPACK),
    Kind("a MATLAB file of version 5 to 7.2", (), b"MATLAB 5.0 MAT-file", cure=_MATLAB_5),
    Kind("an HDF4 file", (), b"\x0e\x03\x13\x01", cure="convert it with h4toh5"),
    Kind("a classic netCDF file", (), b"CDF\x01", cure=_NC4),
    Kind("a classic netCDF file", (), b"CDF\x02", cure=_NC4),
    Kind("a classic netCDF file", (), b"CDF\x05", cure=_NC4),
    Kind("an Amira or Avizo file", (), b"# AmiraMesh", cure=_AMIRA),
    Kind("an Amira or Avizo file", (), b"# Avizo", cure=_AMIRA),
    Kind("an Amira surface", (), b"# HyperSurface", cure="export the label field, not its surface, as TIFF"),
    Kind("an IMOD model of contours", (), b"IMODV1", cure=_IMOD),
    Kind("a NIfTI header without voxels, which are in an .img file", (), b"ni1\0", 344, _SLICER),
    Kind("an NRRD volume", (), b"NRRD000", cure=_SLICER),
    Kind("a MetaImage volume", (), b"ObjectType = ", cure=_SLICER),
    Kind("a DICOM file", (), b"DICM", 128, "convert the series with dcm2niix to .nii"),
    Kind("a Zeiss CZI file", (), b"ZISRAWFILE", cure=_FIJI),
    Kind("a Nikon ND2 file", (), b"\xda\xce\xbe\x0a", cure=_FIJI),
    Kind("an Olympus OIB or Zeiss ZVI file", (), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", cure=_FIJI),
    Kind("a GIF image", (), b"GIF8", cure="save it as PNG"),
    Kind("a JPEG 2000 image", (), b"\0\0\0\x0cjP  ", cure="save it as TIFF"),
    Kind("a pickle", (), b"\x80\x04", cure=_PICKLE),
    Kind("a pickle", (), b"\x80\x05", cure=_PICKLE),
    Kind("a PDF document", (), b"%PDF-", cure="use the data themselves"),
    Kind("a web page: the download failed", (), b"<!DOCTYPE html", cure=_AGAIN),
    Kind("a web page: the download failed", (), b"<html", cure=_AGAIN),
    Kind("the pointer of a file that Git LFS has not fetched", (), b"version https://git-lfs", cure="run git lfs pull"),
)  # fmt: skip

_BY_NAME: tuple[tuple[str, str, str], ...] = (
    (".am .surf .hx", "an Amira or Avizo file", _AMIRA),
    (".mod .fid", "an IMOD model of contours or points", _IMOD),
    (".hdr .img", "one half of an Analyze or NIfTI pair", _SLICER),
    (".nrrd .nhdr .mha .mhd", "an NRRD or MetaImage volume", _SLICER),
    (".dcm .dicom .ima", "a DICOM file", "convert the series with dcm2niix to .nii"),
    (".czi .lif .lof .nd2 .oib .oif .oir .vsi .ets .zvi .lsm .stk .dv .sld", "a light microscope's file", _FIJI),
    (".svs .ndpi .scn .mrxs .bif", "a slide scanner's file", _FIJI),
    (".ser .emi .bcf .tia", "a file of a microscope's own program", "export it there as TIFF, MRC or EMD"),
    (
        ".npz",
        "an archive of arrays",
        "it holds {arrays}; save one: numpy.save('{stem}.npy', numpy.load('{name}')['ARRAY'])",
    ),
    (
        ".raw .vol .bin .dat .data",
        "a block of bytes that does not say its size, type or axes",
        "import it in Fiji (File > Import > Raw) and save it as TIFF, or save it with numpy.save as .npy",
    ),
    (".em .spi .spider .hed", "a file of EM, SPIDER or IMAGIC", "convert it to MRC with em2em or e2proc3d.py"),
    (".pkl .pickle .pt .pth .joblib", "a file of a network or of Python objects, and no image", "give the image"),
    (".jp2 .j2k .webp .gif .jxl", "an image of a kind that is not read", "save it as PNG or TIFF"),
    (".vtk .vti", "a VTK file", "save it in 3D Slicer as .nii"),
    (".mdoc", "the notes of SerialEM about a series", "name the .mrc or .st file beside it"),
    (".json .xml .yaml .yml .csv .txt .md", "text", "name the image that goes with it"),
)
_REFUSED = {suffix: (what, cure) for suffixes, what, cure in _BY_NAME for suffix in suffixes.split()}
_OPENED = (
    *HDF5_SUFFIXES, *MRC_SUFFIXES, *TIFF_SUFFIXES, *FLAT_SUFFIXES, *NIFTI_SUFFIXES, *NPY_SUFFIXES, *DM_SUFFIXES
)  # fmt: skip
_HEAD_BYTES = 1024


def require_kind(path: Path) -> None:
    """Do nothing for a file whose name says a kind that is opened, and whose first bytes say nothing else.

    Raises:
        MissingFileError: It may not be read.
        FormatError: It is of another kind; the message says which, and what to do.
    """
    suffix = suffix_of(path)
    require_content(path)
    kind = _kind_of(path)
    if suffix in _REFUSED and (kind is None or kind.start in (b"PK\x03\x04", b"\x80\x04", b"\x80\x05")):
        what, cure = _REFUSED[suffix]
        raise FormatError(f"{path}: is {what}, which cannot be opened; {_filled(cure, path)}")
    if kind is not None and suffix not in kind.suffixes:
        named = f", though its name ends in '{suffix}'" if kind.suffixes and suffix in _OPENED else ""
        opened = "" if kind.suffixes else ", which cannot be opened"
        cure = kind.cure or f"give it a name that ends in {kind.suffixes[0]}"
        raise FormatError(f"{path}: is {kind.what}{named}{opened}; {_filled(cure, path)}")
    if suffix not in _OPENED:
        raise FormatError(f"{path}: files ending in '{path.suffix}' are not known; expected {KNOWN}")


def _filled(cure: str, path: Path) -> str:
    """A cure with the names of the file at hand."""
    if "{arrays}" in cure:
        cure = cure.replace("{arrays}", _arrays_of(path))
    return cure.replace("{name}", path.name).replace("{stem}", path.stem)


def _arrays_of(path: Path) -> str:
    """The arrays that an archive of NumPy's lists, for a message; nothing is loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "no arrays that can be listed"
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "") or "no arrays"


def _kind_of(path: Path) -> Kind | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return next((kind for kind in KINDS if head[kind.at :].startswith(kind.start)), None)
