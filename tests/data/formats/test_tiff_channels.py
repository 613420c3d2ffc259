"""Channels, colours and stacks in TIFF files, as tifffile, ImageJ, OME writers and others mark them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cristae.data.formats import open_channels, open_image
from cristae.errors import ChannelError, FormatError

pytestmark = pytest.mark.filterwarnings("ignore:.*photometric:DeprecationWarning")
RNG = np.random.default_rng(37)


def values(*shape: int) -> np.ndarray:
    return RNG.integers(0, 255, shape).astype(np.uint8)


@pytest.mark.parametrize("many", [3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i2"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_three_or_four_slices_tagged_as_colours(tmp_path: Path, many: int, dtype: str, compression: str | None) -> None:
    """tifffile tags (3, Y, X) as planes of RGB by default; its description counts them as an array does."""
    stack = values(many, 20, 24).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, compression=compression)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
    image = open_image(tmp_path / "a.tif")
    assert (image.shape, image.colors, image.dtype) == (stack.shape, 1, stack.dtype)
    np.testing.assert_array_equal(image.read(), stack)
    assert "counts slices" in image.details["planes"]
    assert "alpha" not in image.details
    color = open_image(f"{tmp_path}/a.tif::channel=color")
    np.testing.assert_array_equal(color.read()[0], np.moveaxis(stack, 0, -1))
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=2").read()[0], stack[2])
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::axes=zyx").read(), stack)


def test_four_label_slices_are_not_transparent(tmp_path: Path) -> None:
    labels = np.zeros((4, 20, 24), np.uint8)
    labels[:, 3:9, 3:9] = 1
    tifffile.imwrite(tmp_path / "a.tif", labels)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read(), labels)


def test_what_the_person_says_of_many_planes(tmp_path: Path) -> None:
    array = values(5, 3, 20, 24)
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(ChannelError, match=r"has 3 channels \(0 'red', 1 'green', 2 'blue'\)"):
        open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=1").read(), array[:, 1])
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=color").read(), np.moveaxis(array, 1, -1))
    tifffile.imwrite(tmp_path / "b.tif", values(3, 5, 20, 24))
    with pytest.raises(FormatError, match=r"Q=3, Q=5.*::axes=czyx"):
        open_image(tmp_path / "b.tif")
    assert open_image(f"{tmp_path}/b.tif::axes=czyx::channel=2").shape == (5, 20, 24)
    assert open_image(f"{tmp_path}/b.tif::axes=zcyx::channel=4").shape == (3, 20, 24)
    with pytest.raises(FormatError, match=r"3 time points"):
        open_image(f"{tmp_path}/b.tif::axes=tcyx::channel=2")
    with pytest.raises(FormatError, match=r"names 3; name each once"):
        open_image(f"{tmp_path}/b.tif::axes=zyx")
    with pytest.raises(FormatError, match=r"rows \(y\) and columns \(x\) last"):
        open_image(f"{tmp_path}/b.tif::axes=yxzc")


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("many", [2, 5])
def test_samples_that_are_channels(tmp_path: Path, dtype: str, many: int) -> None:
    array = values(20, 24, many).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig", compression="zlib")
    with pytest.raises(ChannelError, match=f"has {many} channels"):
        open_image(tmp_path / "a.tif")
    for channel, image in enumerate(open_channels(tmp_path / "a.tif")):
        np.testing.assert_array_equal(image.read()[0], array[..., channel])
    if many == 2:
        assert open_image(f"{tmp_path}/a.tif::channel=color").colors == 2
    else:
        with pytest.raises(ChannelError, match="a colour image has 2 to 4"):
            open_image(f"{tmp_path}/a.tif::channel=color")


def test_floats_tagged_as_colours_are_channels(tmp_path: Path) -> None:
    array = values(20, 24, 3).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", metadata=None)
    with pytest.raises(ChannelError, match=r"0 'red', 1 'green', 2 'blue'.*::channel=0 to ::channel=2"):
        open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=color").read()[0], array)


def test_colour_images_stay_colour_images(tmp_path: Path) -> None:
    for many in (3, 4):
        array = values(20, 24, many)
        tifffile.imwrite(tmp_path / "a.tif", array)
        image = open_image(tmp_path / "a.tif")
        assert image.colors == many
        np.testing.assert_array_equal(image.read()[0], array)
        np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=color").read()[0], array)
        np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=1").read()[0], array[..., 1])
    stack = values(5, 20, 24, 3)
    tifffile.imwrite(tmp_path / "b.tif", stack, imagej=True, metadata={"axes": "ZYXS"})
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif").read(), stack)
    with pytest.raises(ChannelError, match="no channel 7"):
        open_image(f"{tmp_path}/b.tif::channel=7")
    tifffile.imwrite(tmp_path / "c.tif", values(20, 24))
    with pytest.raises(ChannelError, match="is no colour image"):
        open_image(f"{tmp_path}/c.tif::channel=color")


def test_imagej_hyperstacks(tmp_path: Path) -> None:
    array = values(5, 2, 20, 24)
    labels = [f"{name} z{z}" for z in range(5) for name in ("raw", "mito")]
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX", "Labels": labels})
    with pytest.raises(ChannelError) as raised:
        open_image(tmp_path / "a.tif")
    assert raised.value.channels == ("raw z0", "mito z0")
    image = open_image(f"{tmp_path}/a.tif::channel=1")
    assert image.details["channel"] == "1 'mito z0'"
    np.testing.assert_array_equal(image.read(), array[:, 1])


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "CYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_channels_have_names(tmp_path: Path, axes: str, compression: str | None) -> None:
    array = values(*{"ZCYX": (5, 3), "CZYX": (3, 5), "CYX": (3,)}[axes], 20, 24)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", array, photometric="minisblack", compression=compression,
        metadata={"axes": axes, "Channel": {"Name": ["raw", "mito", "er"]}, "PhysicalSizeX": 0.004},
    )  # fmt: skip
    with pytest.raises(ChannelError, match=r"has 3 channels \(0 'raw', 1 'mito', 2 'er'\)"):
        open_image(tmp_path / "a.ome.tif")
    for channel, image in enumerate(open_channels(tmp_path / "a.ome.tif")):
        np.testing.assert_array_equal(image.read().squeeze(), np.take(array, channel, axes.index("C")))
    color = open_image(f"{tmp_path}/a.ome.tif::channel=color")
    assert color.colors == 3
    np.testing.assert_array_equal(color.read().squeeze(), np.moveaxis(array, axes.index("C"), -1))


def test_ome_planes_in_another_order_than_in_the_file(tmp_path: Path) -> None:
    stack = values(3, 20, 24)
    data = "".join(f'<TiffData IFD="{ifd}" FirstZ="{z}" PlaneCount="1"/>' for ifd, z in ((0, 2), (1, 0), (2, 1)))
    planes = "".join(
        f'<Plane TheZ="{z}" TheC="0" TheT="0" PositionX="1" PositionXUnit="nm" PositionY="2" PositionYUnit="nm" '
        f'PositionZ="{10 + 40 * z}" PositionZUnit="nm"/>'
        for z in (2, 1, 0)
    )
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYCZT" Type="uint8" SizeX="24" SizeY="20" SizeZ="3" SizeC="1" SizeT="1" PhysicalSizeX="0.004" '
        f'PhysicalSizeY="5" PhysicalSizeYUnit="nm" PhysicalSizeZ="400" PhysicalSizeZUnit="Å">'
        f"{data}{planes}</Pixels></Image></OME>"
    )
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for z, pixels in enumerate(stack[[2, 0, 1]]):
            file.write(pixels, description=xml.encode() if z == 0 else None, metadata=None, contiguous=False)
    image = open_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.read(), stack)
    assert image.voxel_size_nm == (40, 5, 4)
    assert image.origin_nm == (10, 2, 1)


def test_axes_that_the_file_names_in_another_order(tmp_path: Path) -> None:
    array = values(6, 20, 24)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "XYZ"})
    with pytest.raises(FormatError, match=r"has axes XYZ \(X=6, Y=20, Z=24\).*::axes=zyx"):
        open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::axes=zyx").read(), array)


def test_channels_of_a_folder(tmp_path: Path) -> None:
    array = values(4, 2, 20, 24)
    for z, planes in enumerate(array):
        tifffile.imwrite(tmp_path / f"{z}.tif", planes, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ChannelError, match=r"0\.tif: has 2 channels"):
        open_image(tmp_path)
    np.testing.assert_array_equal(open_image(f"{tmp_path}::channel=1").read(), array[:, 1])
    assert len(open_channels(tmp_path)) == 2


SHAPES = [
    (3, 20, 24), (20, 24, 3), (4, 20, 24), (20, 24, 4), (20, 24, 2), (2, 20, 24), (1, 3, 20, 24), (5, 4, 20, 24),
    (2, 3, 4, 20, 24), (3, 3), (3, 3, 3), (4, 3, 3, 3),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "f4"])
@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}, {"metadata": None}])
def test_arrays_of_any_shape_open_or_are_refused_in_words(tmp_path: Path, shape, dtype: str, options) -> None:  # type: ignore[no-untyped-def]
    array = values(*shape).astype(dtype)
    try:
        tifffile.imwrite(tmp_path / "a.tif", array, **options)
    except (ValueError, TypeError):
        pytest.skip("tifffile does not write this")
    if len(shape) == 5 and options != {"metadata": None}:
        with pytest.raises(FormatError, match=r"a\.tif: "):
            open_channels(tmp_path / "a.tif")
        return
    seen = np.concatenate([image.read().ravel() for image in open_channels(tmp_path / "a.tif")])
    np.testing.assert_array_equal(np.sort(seen), np.sort(array, axis=None))


def test_slices_that_a_program_calls_channels(tmp_path: Path) -> None:
    stack = values(9, 20, 24)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    with pytest.raises(ChannelError, match=r"has 9 channels.*if they are slices, say so by ::axes=zyx"):
        open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::axes=zyx").read(), stack)


def test_what_the_person_says_of_plain_pages(tmp_path: Path) -> None:
    stack = values(6, 20, 24)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::axes=zyx").read(), stack)
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::axes=cyx::channel=4").read()[0], stack[4])
    for option, words in (("axes=cyx", "has 6 channels"), ("axes=tyx", "6 time points"), ("signed=true", "8-bit MRC")):
        with pytest.raises(FormatError, match=words):
            open_image(f"{tmp_path}/a.tif::{option}")
