"""The resolution levels of pyramids: which there are, and where each lies."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from cristae.data.formats import open_image, write_image
from cristae.data.formats.levels import level_path
from cristae.data.image import image_of_array
from cristae.errors import FormatError, MissingFileError

STACK = np.random.default_rng(2).integers(0, 200, (3, 300, 20)).astype(np.uint8)


def ome_zarr(path: Path) -> Path:
    write_image(image_of_array(STACK, voxel_size_nm=(40.0, 4.0, 4.0)), path)
    return path


def n5(path: Path, group: str) -> Path:
    for level, factor in enumerate((1, 2, 4)):
        place = path / group / f"s{level}"
        spec = {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": f"{place}/"},
            "metadata": {"dimensions": STACK[:, ::factor, ::factor].shape[::-1], "blockSize": [20, 20, 3],
                         "dataType": "uint8", "compression": {"type": "gzip"}},
            "create": True,
        }  # fmt: skip
        tensorstore.open(spec).result()[...].write(STACK[:, ::factor, ::factor].T).result()
        file = place / "attributes.json"
        stated = {"downsamplingFactors": [factor, factor, 1]} if factor > 1 else {}
        file.write_text(json.dumps(json.loads(file.read_text()) | stated))
    (path / "attributes.json").write_text(json.dumps({"n5": "2.0.0"}))
    resolution = {"resolution": [4, 4, 40], "offset": [0, 0, 400]}
    (path / group / "attributes.json").write_text(json.dumps(resolution))
    return path


def precomputed(path: Path) -> Path:
    for factor in (1, 2):
        voxels = STACK[None, :, ::factor, ::factor]
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{path}/"},
            "create": True,
            "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
            "scale_metadata": {"size": voxels.shape[:0:-1], "encoding": "raw", "chunk_size": [20, 20, 3],
                               "resolution": [4 * factor, 4 * factor, 40], "voxel_offset": [8 // factor, 0, 0]},
        }  # fmt: skip
        tensorstore.open(spec).result()[...].write(voxels.T).result()
    return path


def test_levels_of_ome_zarr(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "cell.zarr")
    assert level_path(path, 0) == f"{path}:/0"
    image = open_image(level_path(path, 1))
    assert (image.shape, image.voxel_size_nm) == ((3, 150, 10), (40.0, 8.0, 8.0))
    assert image.origin_nm == (0.0, 2.0, 2.0), "the corner stays where it is"
    means = STACK.reshape(3, 150, 2, 10, 2).mean((2, 4))
    np.testing.assert_allclose(image.read(), means, atol=0.5)


def test_options_and_inner_paths_are_kept(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "root.zarr" / "em" / "raw.zarr")
    assert (
        level_path(f"{tmp_path}/root.zarr:/em/raw.zarr::axes=zyx", 1)
        == f"{tmp_path}/root.zarr:/em/raw.zarr/1::axes=zyx"
    )
    assert level_path(path, 1) == f"{path}:/1"
    assert open_image(level_path(tmp_path / "root.zarr", 1)).shape == (3, 150, 10), "the only image there is"


def test_a_zarr_group_of_numbered_arrays(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "plain.zarr", mode="w")
    for level, factor in enumerate((1, 2)):
        array = group.create_array(f"s{level}", data=STACK[:, ::factor, ::factor])
        array.attrs["resolution"] = [40, 4 * factor, 4 * factor]
    image = open_image(level_path(tmp_path / "plain.zarr", 1))
    np.testing.assert_array_equal(image.read(), STACK[:, ::2, ::2])


@pytest.mark.parametrize("group", ["", "raw/data"])
@pytest.mark.parametrize("named", [False, True])
def test_levels_of_n5(tmp_path: Path, group: str, named: bool) -> None:
    path = n5(tmp_path / "cell.n5", group)
    image = open_image(level_path(f"{path}:/{group}" if group and named else path, 2))
    np.testing.assert_array_equal(image.read(), STACK[:, ::4, ::4])
    assert image.voxel_size_nm == (40.0, 16.0, 16.0)
    assert image.origin_nm == (400.0, 6.0, 6.0)


def test_levels_of_precomputed_share_their_corner(tmp_path: Path) -> None:
    path = precomputed(tmp_path / "cell")
    image = open_image(level_path(path, 1))
    np.testing.assert_array_equal(image.read(), STACK[:, ::2, ::2])
    assert image.voxel_size_nm == (40.0, 8.0, 8.0)
    assert image.origin_nm == (0.0, 2.0, 34.0), "32 nm to the corner, as of full size, and half a fine voxel more"


def test_levels_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"has the resolution levels 0 to 1, no level 2$"):
        level_path(ome_zarr(tmp_path / "cell.zarr"), 2)
    with pytest.raises(FormatError, match=r"Name the group that holds the levels"):
        level_path(f"{tmp_path}/cell.zarr:/1", 1)
    with pytest.raises(FormatError, match=r"is no pyramid .*`cristae convert \S+/pre/4_4_40 \S+/pre/4_4_40\.zarr`"):
        level_path(precomputed(tmp_path / "pre") / "4_4_40", 1)
    with pytest.raises(MissingFileError, match=r"nothing\.zarr: does not exist"):
        level_path(tmp_path / "nothing.zarr", 1)


def test_what_makes_a_pyramid_makes_one(tmp_path: Path) -> None:
    flat = tmp_path / "cell.tif"
    write_image(image_of_array(STACK, voxel_size_nm=(40.0, 4.0, 4.0)), flat)
    target = tmp_path / "cell.zarr"
    with pytest.raises(FormatError, match=rf"no level 1\. `cristae convert {flat} {target}` writes one"):
        level_path(flat, 1)
    write_image(open_image(flat), target)
    assert open_image(level_path(target, 1)).shape == (3, 150, 10)


def test_a_slice_folder_is_no_pyramid(tmp_path: Path) -> None:
    for number in range(2):
        write_image(image_of_array(STACK[number]), tmp_path / "slices" / f"{number}.tif")
    target = tmp_path / "slices.zarr"
    with pytest.raises(FormatError, match=rf"`cristae convert {tmp_path}/slices {target}`"):
        level_path(tmp_path / "slices", 1)
