"""Files are told by their content, and what is not opened is refused with what it is and a way on."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image as Pillow

from cristae.data.formats import open_image
from cristae.data.formats.kinds import KINDS
from cristae.errors import FormatError

STACK = np.random.default_rng(7).integers(0, 255, (4, 20, 30)).astype(np.uint8)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = STACK


def mrc(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(STACK.astype("i2"))


def numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, STACK)


def netcdf(path: Path) -> None:
    with scipy.io.netcdf_file(path, "w") as file:
        file.createDimension("x", 3)


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an HDF5 file": (".h5", hdf5),
    "a TIFF file": (".tif", lambda path: tifffile.imwrite(path, STACK)),
    "a PNG image": (".png", lambda path: Pillow.fromarray(STACK[0]).save(path, "PNG")),
    "a JPEG image": (".jpg", lambda path: Pillow.fromarray(STACK[0]).save(path, "JPEG")),
    "an MRC file": (".mrc", mrc),
    "a NumPy array": (".npy", numpy),
    "a NIfTI volume": (".nii", lambda path: nibabel.Nifti1Image(STACK.T, np.eye(4)).to_filename(path)),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_file_under_another_name(tmp_path: Path, what: str) -> None:
    true, writer = WRITERS[what]
    writer(tmp_path / f"a{true}")
    content = (tmp_path / f"a{true}").read_bytes()
    for suffix in [other for other, _ in WRITERS.values() if other != true] + [".dm3", ".xyz", ".raw"]:
        path = tmp_path / f"b{suffix}"
        path.write_bytes(content)
        with pytest.raises(FormatError, match=rf"b\{suffix}: is {what}.*give it a name that ends in \{true}"):
            open_image(path)


def packed(path: Path) -> None:
    path.write_bytes(gzip.compress(b"any"))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", b"any")


def dicom(path: Path) -> None:
    path.write_bytes(bytes(128) + b"DICM" + bytes(64))


@pytest.mark.parametrize(
    ("name", "writer", "words"),
    [
        ("a.mrc.gz", packed, "compressed with gzip.*gunzip"),
        ("a.tif", packed, "compressed with gzip, though its name ends in '.tif'"),
        ("a.npz", lambda path: np.savez(path, a=STACK), "archive of arrays.*it holds a; save one"),
        ("a.h5", zipped, "ZIP archive.*unpack it"),
        ("a.mat", lambda path: scipy.io.savemat(path, {"a": STACK}), r"version 5 to 7\.2.*-v7\.3"),
        ("a.nc", netcdf, "classic netCDF.*nccopy"),
        ("a.dcm", dicom, "DICOM.*dcm2niix"),
        ("IM0001", dicom, "DICOM.*dcm2niix"),
        ("a.npy", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a pickle.*could run any code"),
        ("a.pt", lambda path: path.write_bytes(b"any"), "file of a network or of Python objects"),
        ("a.am", lambda path: path.write_bytes(b"# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n"), "Amira or Avizo"),
        ("a.mod", lambda path: path.write_bytes(b"IMODV1.2" + bytes(100)), "IMOD model.*imodmop"),
        ("a.fid", lambda path: path.write_bytes(b"any"), "IMOD model"),
        ("a.nrrd", lambda path: path.write_bytes(b"NRRD0004\n"), "NRRD"),
        ("a.mha", lambda path: path.write_bytes(b"ObjectType = Image\n"), "MetaImage"),
        ("a.czi", lambda path: path.write_bytes(b"ZISRAWFILE" + bytes(50)), "Zeiss CZI.*Fiji"),
        ("a.lif", lambda path: path.write_bytes(b"any"), "light microscope's file.*Fiji"),
        ("a.vsi", lambda path: tifffile.imwrite(path, STACK), "TIFF file|light microscope"),
        ("a.raw", lambda path: path.write_bytes(STACK.tobytes()), "block of bytes.*Raw"),
        ("a.vol", lambda path: path.write_bytes(STACK.tobytes()), "block of bytes"),
        ("a.tif", lambda path: path.write_bytes(b"<!DOCTYPE html><html>log in"), "web page: the download failed"),
        ("a.h5", lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
        ("a.xyz", lambda path: path.write_bytes(b"any"), "files ending in '.xyz' are not known"),
    ],
)
def test_refusals(tmp_path: Path, name: str, writer: Callable[[Path], object], words: str) -> None:
    writer(tmp_path / name)
    with pytest.raises(FormatError, match=words) as raised:
        open_image(tmp_path / name)
    assert name in str(raised.value)


def test_an_ilastik_project_without_data(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.ilp", "w") as file:
        file["workflowName"] = b"Pixel Classification"
        file["Input Data/infos/lane0000/Raw Data/filePath"] = b"raw.h5"
    with pytest.raises(FormatError, match=r"holds no image.*text or references"):
        open_image(tmp_path / "a.ilp")


def test_every_kind_says_a_way_on() -> None:
    assert all(kind.suffixes or kind.cure for kind in KINDS)
