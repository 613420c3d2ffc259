"""HDF5 files as ilastik, ImageJ and plain h5py write them."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.formats import open_image
from cristae.errors import ChannelError, FormatError

STACK = np.random.default_rng(17).integers(0, 255, (4, 20, 30)).astype(np.uint8)


def write(path: Path, array: np.ndarray, *, name: str = "exported_data", **attributes: Any) -> Path:
    with h5py.File(path, "a") as file:
        data = file.create_dataset(name, data=array, chunks=tuple(min(7, n) for n in array.shape))
        for key, value in attributes.items():
            data.attrs[key] = value
    return path


def tags(axes: str, **resolution: float) -> str:
    return json.dumps({"axes": [{"key": a, "typeFlags": 2, "resolution": resolution.get(a, 0)} for a in axes]})


@pytest.mark.parametrize("axes", ["zyx", "xyz", "yzx", "zyxc", "tzyxc", "cxyz"])
def test_axistags(tmp_path: Path, axes: str) -> None:
    order = ["zyxtc".index(a) for a in axes]
    array = STACK[..., None, None].transpose([*order, *(i for i in range(5) if i not in order)]).reshape(
        [STACK.shape["zyx".index(a)] if a in "zyx" else 1 for a in axes]
    )  # fmt: skip
    image = open_image(write(tmp_path / "a.h5", array, axistags=tags(axes)))
    np.testing.assert_array_equal(image.read(Box((1, 2, 3), (4, 18, 29))), STACK[1:4, 2:18, 3:29])


def test_element_size_of_imagej(tmp_path: Path) -> None:
    image = open_image(write(tmp_path / "a.h5", STACK, element_size_um=[0.04, 0.0046, 0.0059]))
    assert image.voxel_size_nm == (40.0, 4.6, 5.9)


def test_ilastik_resolution_counts_with_its_units_only(tmp_path: Path) -> None:
    stated = tags("zyx", z=40.0, y=4.6, x=4.6)
    assert open_image(write(tmp_path / "a.h5", STACK, axistags=stated)).voxel_size_nm is None
    units = json.dumps(dict.fromkeys("zyx", "nm"))
    assert open_image(write(tmp_path / "b.h5", STACK, axistags=stated, axis_units=units)).voxel_size_nm == (
        40,
        4.6,
        4.6,
    )


def test_flat_bool_and_big_endian(tmp_path: Path) -> None:
    np.testing.assert_array_equal(open_image(write(tmp_path / "f.h5", STACK[0])).read()[0], STACK[0])
    mask = open_image(write(tmp_path / "m.h5", STACK > 99))
    assert (mask.dtype, int(mask.read().sum())) == (np.uint8, int((STACK > 99).sum()))
    big = open_image(write(tmp_path / "b.h5", STACK.astype(">u2") * 200))
    assert big.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(big.read(), STACK.astype("u2") * 200)


def test_colours(tmp_path: Path) -> None:
    array = np.stack([STACK, STACK + 1, STACK + 2], axis=-1)
    path = write(tmp_path / "a.h5", array, axistags=tags("zyxc"))
    with pytest.raises(ChannelError, match=r"3 channels.*::channel=0 to ::channel=2"):
        open_image(path)
    image = open_image(f"{path}::channel=color")
    assert (image.shape, image.colors) == (STACK.shape, 3)
    np.testing.assert_array_equal(open_image(f"{path}::channel=2").read(), STACK + 2)


def test_several_arrays_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", STACK, name="volumes/raw")
    write(path, STACK + 1, name="volumes/labels")
    write(path, np.arange(5), name="offsets")
    with pytest.raises(FormatError, match=r"2 arrays.*a\.h5:/volumes/labels, .*a\.h5:/volumes/raw"):
        open_image(path)
    np.testing.assert_array_equal(open_image(f"{path}:/volumes/labels").read(), STACK + 1)
    np.testing.assert_array_equal(open_image(f"{path}:volumes/raw").read(), STACK)
    with pytest.raises(FormatError, match="no array '/nothing'"):
        open_image(f"{path}:/nothing")


@pytest.mark.parametrize(
    ("array", "attributes", "words"),
    [
        (np.ones((2, 3, 4, 5), np.uint8), {}, "4 axes without names"),
        (np.ones((2, 3, 4, 5), np.uint8), {"axistags": tags("tzyx")}, "2 time points"),
        (np.ones((9, 3, 4), np.uint8), {"axistags": tags("cyx")}, "9 channels"),
        (np.ones((2, 3, 4), np.uint8), {"axistags": "{broken"}, "axistags"),
        (np.ones((2, 3, 4), np.uint8), {"axistags": tags("yx")}, "names y,x"),
        (np.ones((2, 3, 4), np.complex64), {}, "holds no image: '/x' holds complex numbers"),
        (np.ones((0, 3, 4), np.uint8)[:], {}, "no voxels|not a readable|ERROR"),
    ],
)
def test_arrays_that_are_no_volume(tmp_path: Path, array: np.ndarray, attributes: dict[str, Any], words: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("x", data=array)
        for key, value in attributes.items():
            data.attrs[key] = value
    with pytest.raises(FormatError, match=words):
        open_image(tmp_path / "a.h5")


def test_virtual_array_without_its_source(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(shape=STACK.shape, dtype="u1")
    layout[:] = h5py.VirtualSource("gone.h5", "x", shape=STACK.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(FormatError, match=r"gone\.h5:/x; the file is missing"):
        open_image(tmp_path / "a.h5")


def test_damaged_chunk(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("x", data=STACK, chunks=(2, 20, 30), compression="gzip", fletcher32=True)
        where = data.id.get_chunk_info(1).byte_offset
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[where + 20 : where + 60] = bytes(40)
    (tmp_path / "a.h5").write_bytes(content)
    image = open_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(image.read(Box((0, 0, 0), (2, 20, 30))), STACK[:2])
    with pytest.raises(FormatError, match="damaged"):
        image.read()
