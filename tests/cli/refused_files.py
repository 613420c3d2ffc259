"""Files that are refused or asked about, each with the command that meets it; the page of refusals is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import nibabel
import numpy as np
import tifffile
import zarr
from PIL import Image as PillowImage

Make = Callable[[Path], object]

GREY = np.random.default_rng(3).integers(60, 200, (6, 48, 64)).astype(np.uint8)
MASK = np.zeros((6, 48, 64), np.uint8)
MASK[1:5, 10:30, 10:30] = 1


@dataclass(frozen=True)
class Case:
    """One file or pair of files that a person may have."""

    kind: str
    situation: str
    make: Make
    arguments: tuple[str, ...]


def tiff(name: str, pixels: np.ndarray, **options: Any) -> Make:
    options = {"photometric": "minisblack", **options}
    return lambda folder: tifffile.imwrite(folder / name, pixels, **options)


def hdf5(name: str, **arrays: Any) -> Make:
    def make(folder: Path) -> None:
        with h5py.File(folder / name, "w") as file:
            for inner, pixels in arrays.items():
                file[inner] = pixels

    return make


def axes_of(name: str, axes: str) -> Make:
    def make(folder: Path) -> None:
        with h5py.File(folder / name, "a") as file:
            array = next(iter(file.values()))
            tags = [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in axes]
            array.attrs["axistags"] = json.dumps({"axes": tags})

    return make


def text(name: str, content: str) -> Make:
    return lambda folder: (folder / name).write_text(content)


def raw(name: str, content: bytes) -> Make:
    return lambda folder: (folder / name).write_bytes(content)


def slices(name: str, *pixels: np.ndarray, names: tuple[str, ...] = (), mode: str | None = None) -> Make:
    def make(folder: Path) -> None:
        (folder / name).mkdir()
        for z, one in enumerate(pixels):
            file = names[z] if names else f"s_{z}.png"
            PillowImage.fromarray(one, mode).save(folder / name / file)

    return make


def all_of(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make


def palettes(folder: Path) -> None:
    (folder / "labels").mkdir()
    for z, colors in enumerate(([0, 0, 0, 255, 0, 0], [0, 0, 0, 255, 0, 0], [0, 0, 0, 0, 255, 0])):
        image = PillowImage.fromarray(MASK[z + 1], "P")
        image.putpalette(colors)
        image.save(folder / "labels" / f"s_{z}.png")


def mrc_of_mode(mode: int) -> Make:
    def make(folder: Path) -> None:
        with mrcfile.new(folder / "v.mrc") as file:
            file.set_data(GREY.astype(np.int16))
        content = bytearray((folder / "v.mrc").read_bytes())
        content[12:16] = mode.to_bytes(4, "little")
        (folder / "v.mrc").write_bytes(content)

    return make


def nifti(folder: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((8, 9, 10, 3), np.uint8), np.eye(4))
    nibabel.save(image, folder / "v.nii.gz")


def pickled_zarr(folder: Path) -> None:
    zarr.create_array(folder / "v.zarr", shape=(4, 8, 8), dtype="i4", chunks=(4, 8, 8), zarr_format=2)
    place = folder / "v.zarr" / ".zarray"
    about = json.loads(place.read_text())
    place.write_text(json.dumps(about | {"filters": [{"id": "pickle", "protocol": 5}]}))


def precomputed(folder: Path) -> None:
    (folder / "pre" / "4_4_50").mkdir(parents=True)
    about = {"@type": "neuroglancer_multiscale_volume", "type": "image", "scales": []}
    (folder / "pre" / "info").write_text(json.dumps(about))


def misnamed(folder: Path) -> None:
    tifffile.imwrite(folder / "v.tif", GREY, photometric="minisblack")
    (folder / "v.tif").rename(folder / "v.mrc")


def two_types(folder: Path) -> None:
    slices("s", GREY[0], GREY[1], names=("a0.png", "a1.png"))(folder)
    PillowImage.fromarray(GREY[2].astype(np.uint16)).save(folder / "s" / "a2.png")


def link(folder: Path) -> None:
    with h5py.File(folder / "index.h5", "w") as file:
        file["raw"] = h5py.ExternalLink("raw_data.h5", "exported_data")


def sized(name: str, pixels: np.ndarray, size: tuple[float, float, float], offset: Any = None) -> Make:
    def make(folder: Path) -> None:
        with h5py.File(folder / name, "w") as file:
            array = file.create_dataset("x", data=pixels)
            array.attrs["resolution"] = size
            if offset is not None:
                array.attrs["offset"] = offset

    return make


NEW = ("recipe", "new", "--out", "r.yaml")
STACK = tiff("stack.tif", GREY)

CASES = [
    Case(
        "Channels and axes",
        "an HDF5 file of two probability maps",
        all_of(hdf5("p.h5", x=np.zeros((4, 8, 8, 2), "f4")), axes_of("p.h5", "zyxc")),
        ("convert", "p.h5", "p.tif"),
    ),
    Case(
        "Channels and axes",
        "a channel that is not there",
        all_of(hdf5("p.h5", x=np.zeros((4, 8, 8, 2), "f4")), axes_of("p.h5", "zyxc")),
        ("inspect", "p.h5::channel=2"),
    ),
    Case(
        "Channels and axes",
        "four axes without names",
        hdf5("p.h5", x=np.zeros((2, 4, 8, 8), "f4")),
        ("inspect", "p.h5"),
    ),
    Case("Channels and axes", "a misspelt option", STACK, ("inspect", "stack.tif::chanel=1")),
    Case("Channels and axes", "an option that does not apply", STACK, ("inspect", "stack.tif::signed=false")),
    Case(
        "Channels and axes",
        "a float TIFF of three samples",
        tiff("rgb.tif", np.zeros((8, 9, 3), "f4"), photometric="rgb"),
        ("convert", "rgb.tif", "out.mrc"),
    ),
    Case(
        "Channels and axes",
        "an ImageJ hyperstack of two channels",
        tiff("hyper.tif", np.zeros((4, 2, 8, 9), "u1"), imagej=True, metadata={"axes": "ZCYX"}),
        ("convert", "hyper.tif", "out.mrc"),
    ),
    Case(
        "Channels and axes",
        "time points",
        tiff("movie.tif", np.zeros((3, 4, 8, 9), "u1"), imagej=True, metadata={"axes": "TZYX"}),
        ("inspect", "movie.tif"),
    ),
    Case("Channels and axes", "a NIfTI file of three volumes", nifti, ("convert", "v.nii.gz", "out.mrc")),
    Case(
        "Channels and axes",
        "probabilities scored without a threshold",
        all_of(tiff("t.tif", MASK), tiff("p.tif", MASK * np.float32(0.9))),
        ("evaluate", "--truth", "t.tif", "--prediction", "p.tif"),
    ),
    Case("Tags", "slices with two palettes", palettes, ("inspect", "labels")),
    Case("Tags", "slices of two types", two_types, ("inspect", "s")),
    Case(
        "Tags",
        "a stack of float values stored as WhiteIsZero",
        tiff("w.tif", GREY.astype("f4"), photometric="miniswhite"),
        ("inspect", "w.tif"),
    ),
    Case(
        "Tags",
        "CMYK colours",
        lambda folder: PillowImage.new("CMYK", (8, 8)).save(folder / "c.tif"),
        ("inspect", "c.tif"),
    ),
    Case("Containers", "an external link to a missing file", link, ("inspect", "index.h5")),
    Case(
        "Containers",
        "an HDF5 file of two arrays",
        hdf5("two.h5", raw=GREY, labels=MASK),
        ("convert", "two.h5", "out.tif"),
    ),
    Case(
        "Containers", "an Amira file", text("mito.am", "# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n"), ("inspect", "mito.am")
    ),
    Case("Containers", "an IMOD model", raw("mito.mod", b"IMODV1.2" + bytes(232)), ("inspect", "mito.mod")),
    Case("Containers", "MATLAB before 7.3", raw("v.mat", b"MATLAB 5.0 MAT-file" + bytes(300)), ("inspect", "v.mat")),
    Case("Containers", "a TIFF named .mrc", misnamed, ("inspect", "v.mrc")),
    Case(
        "Containers",
        "an archive of NumPy arrays",
        lambda folder: np.savez(folder / "p.npz", p=GREY),
        ("inspect", "p.npz"),
    ),
    Case("Containers", "a network's weights", raw("net.pt", b"PK\x03\x04" + bytes(100)), ("inspect", "net.pt")),
    Case("Containers", "a Zarr array of pickles", pickled_zarr, ("inspect", "v.zarr")),
    Case("Containers", "a precomputed volume without scales", precomputed, ("inspect", "pre")),
    Case("Containers", "MRC of complex numbers", mrc_of_mode(4), ("inspect", "v.mrc")),
    Case("Containers", "an OME-Zarr archive", raw("v.zarr.zip", b"PK\x03\x04" + bytes(100)), ("inspect", "v.zarr.zip")),
    Case(
        "Geometry",
        "labels of another voxel size",
        all_of(sized("i.h5", GREY, (50, 4, 4)), sized("l.h5", MASK, (50, 8, 8))),
        (*NEW, "--image", "i.h5", "--labels", "l.h5"),
    ),
    Case(
        "Geometry",
        "truth and prediction in other units",
        all_of(sized("t.h5", MASK, (50, 4, 4)), sized("p.h5", MASK, (0.05, 0.004, 0.004))),
        ("evaluate", "--truth", "t.h5", "--prediction", "p.h5", "--binarize", "0.5"),
    ),
    Case(
        "Geometry",
        "labels of a crop",
        all_of(sized("i.h5", GREY, (50, 4, 4), (0, 0, 0)), sized("l.h5", MASK[:4, :24], (50, 4, 4), (50, 40, 0))),
        (*NEW, "--image", "i.h5", "--labels", "l.h5"),
    ),
    Case(
        "Label meaning",
        "labels that are the image",
        all_of(STACK),
        (*NEW, "--image", "stack.tif", "--labels", "stack.tif"),
    ),
    Case(
        "Label meaning",
        "labels of one value",
        all_of(STACK, tiff("l.tif", np.ones_like(GREY))),
        (*NEW, "--image", "stack.tif", "--labels", "l.tif"),
    ),
    Case(
        "Label meaning",
        "probabilities as labels",
        all_of(STACK, tiff("l.tif", MASK * np.float32(0.7))),
        (*NEW, "--image", "stack.tif", "--labels", "l.tif"),
    ),
    Case(
        "Label meaning",
        "structures painted over the grey image",
        all_of(
            slices("i", *GREY),
            slices(
                "l",
                *[
                    np.where(MASK[z][..., None], np.array([255, 0, 0], np.uint8), np.dstack([GREY[z]] * 3))
                    for z in range(6)
                ],
            ),
        ),
        (*NEW, "--image", "i", "--labels", "l"),
    ),
    Case(
        "Pairing",
        "a label file without its image",
        all_of(slices("i", *GREY), slices("l", *MASK[:3], names=("s_0.png", "s_1.png", "s_77.png"))),
        (*NEW, "--image", "i", "--labels", "l"),
    ),
    Case(
        "Pairing",
        "two channels of nnU-Net's names",
        all_of(
            slices("i", *GREY[:4], names=("c_0_0000.png", "c_0_0001.png", "c_1_0000.png", "c_1_0001.png")),
            slices("l", *MASK[:2], names=("c_0.png", "c_1.png")),
        ),
        (*NEW, "--image", "i", "--labels", "l"),
    ),
    Case(
        "Pairing",
        "label files for a stack whose slices have no names",
        all_of(STACK, slices("l", *MASK[:2])),
        (*NEW, "--image", "stack.tif", "--labels", "l"),
    ),
]
