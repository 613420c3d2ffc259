"""A small valid file of every format and dialect, to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import nibabel
import numpy as np
import tensorstore
import tifffile
import zarr
from PIL import Image as PillowImage

from cristae.data.formats import write_image
from cristae.data.image import image_of_array

ARRAY = np.random.default_rng(19).integers(0, 255, (3, 20, 17)).astype(np.uint8)
IMARIS_LEVEL = "DataSet/ResolutionLevel 0/TimePoint 0"
COLORS = np.random.default_rng(20).integers(0, 255, (20, 17, 4)).astype(np.uint8)


def ours(path: Path) -> None:
    write_image(image_of_array(ARRAY, voxel_size_nm=(40.0, 4.6, 4.6)), path)


def flat(path: Path) -> None:
    PillowImage.fromarray(ARRAY[0]).save(path)


def imagej(path: Path) -> None:
    tifffile.imwrite(path, ARRAY, imagej=True, metadata={"axes": "ZYX", "unit": "nm", "spacing": 40})


def tiff_pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for pixels in ARRAY:
            file.write(pixels, contiguous=False, metadata=None, rowsperstrip=7, compression="zlib")


def mrc(dtype: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with mrcfile.new(path) as file:
            file.set_data(ARRAY.astype(dtype))
            file.voxel_size = 46.0

    return write


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("raw/x", data=ARRAY, chunks=(2, 8, 8), compression="gzip").attrs["resolution"] = (40, 4, 4)


def hdf5_channels(path: Path) -> None:
    axes = [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in "zyxc"]
    with h5py.File(path, "w") as file:
        array = file.create_dataset("exported_data", data=np.stack([ARRAY, ARRAY], -1).astype("f4") / 255)
        array.attrs["axistags"] = json.dumps({"axes": axes})


def matlab(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("A", data=ARRAY[:2]).attrs["MATLAB_class"] = np.bytes_("uint8")


def imaris(path: Path) -> None:
    with h5py.File(path, "w") as file:
        about, channel = (file.create_group(name) for name in ("DataSetInfo/Image", f"{IMARIS_LEVEL}/Channel 0"))
        for axis, (letter, size) in enumerate(zip("XYZ", ARRAY.shape[::-1], strict=True)):
            channel.attrs[f"ImageSize{letter}"] = np.array(list(str(size)), "S1")
            about.attrs[f"ExtMax{axis}"], about.attrs[f"ExtMin{axis}"] = np.array([b"9"]), np.array([b"0"])
        channel.create_dataset("Data", data=np.pad(ARRAY, ((0, 1), (0, 4), (0, 7))), chunks=(2, 8, 8))


def scales(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset("em", data=ARRAY)
        for dimension, name, size in zip(data.dims, "zyx", ARRAY.shape, strict=True):
            scale = file.create_dataset(name, data=4.0 * np.arange(size))
            scale.attrs["units"] = "nm"
            scale.make_scale(name)
            dimension.attach_scale(scale)


def emd(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        group["data"] = ARRAY
        for i, size in enumerate(ARRAY.shape, 1):
            group[f"dim{i}"] = 4.0 * np.arange(size)
            group[f"dim{i}"].attrs.update({"name": "zyx"[i - 1], "units": "[n_m]"})


def nifti(path: Path) -> None:
    image = nibabel.Nifti1Image(ARRAY.T, np.diag([0.004, 0.004, 0.04, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, path)


def zarr_of(version: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        zarr.create_array(path, data=ARRAY, chunks=(2, 8, 8), zarr_format=version)

    return write


def n5(path: Path) -> None:
    metadata = {"dataType": "uint8", "dimensions": [17, 20, 3], "blockSize": [8, 8, 2], "compression": {"type": "gzip"}}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/raw/"}, "metadata": metadata}
    tensorstore.open(spec, create=True).result().write(ARRAY.T).result()
    (path / "attributes.json").write_text('{"n5": "2.0.0"}')


def precomputed(path: Path) -> None:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": {"size": [17, 20, 3], "resolution": [4, 4, 40], "encoding": "raw", "chunk_size": [8, 8, 2]},
    }
    tensorstore.open(spec, create=True).result().write(ARRAY.T[..., None]).result()


def slices(path: Path) -> None:
    path.mkdir()
    for z, pixels in enumerate(ARRAY):
        PillowImage.fromarray(pixels).save(path / f"s_{z}.png")


SEEDS: dict[str, Callable[[Path], None]] = {
    "imagej.tif": imagej,
    "pages.tif": tiff_pages,
    "tiles.tif": lambda path: tifffile.imwrite(path, ARRAY, tile=(16, 16), compression="lzw"),
    "ome.ome.tif": lambda path: tifffile.imwrite(path, ARRAY, metadata={"axes": "ZYX", "PhysicalSizeX": 0.004}),
    "big.tif": lambda path: tifffile.imwrite(path, ARRAY, bigtiff=True),
    "colors.tif": lambda path: tifffile.imwrite(path, COLORS, photometric="rgb", extrasamples=["unassalpha"]),
    "ours.tif": ours,
    "bytes.mrc": mrc("int8"),
    "words.mrc": mrc("int16"),
    "floats.mrc": mrc("float32"),
    "ours.mrc": ours,
    "plain.h5": hdf5,
    "channels.h5": hdf5_channels,
    "ours.h5": ours,
    "scales.nc": scales,
    "matlab.mat": matlab,
    "imaris.ims": imaris,
    "berkeley.emd": emd,
    "plain.nii": nifti,
    "packed.nii.gz": nifti,
    "plain.npy": lambda path: np.save(path, ARRAY),
    "grey.png": flat,
    "colors.png": lambda path: PillowImage.fromarray(COLORS).save(path),
    "palette.png": lambda path: PillowImage.fromarray(ARRAY[0]).quantize(9).save(path),
    "wide.png": lambda path: PillowImage.fromarray(ARRAY[0].astype(np.uint16) * 7).save(path),
    "grey.bmp": flat,
    "grey.jpg": flat,
    "two.zarr": zarr_of(2),
    "three.zarr": zarr_of(3),
    "ours.zarr": ours,
    "v.n5": n5,
    "precomputed": precomputed,
    "slices": slices,
}  # fmt: skip
