"""MRC files as mrcfile, IMOD and older programs write them."""

import struct
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.formats import open_image
from cristae.data.formats.mrc import HEADER
from cristae.errors import FormatError

RNG = np.random.default_rng(7)


def write(path: Path, array: np.ndarray, voxel_a: object = 46.0) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(array)
        file.voxel_size = voxel_a
    return path


def patch(path: Path, offset: int, layout: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)
    return path


def test_header_layout_is_that_of_mrcfile() -> None:
    assert HEADER.itemsize == 1024
    ours = {name: HEADER.fields[name][1] for name in HEADER.names}  # type: ignore[index,union-attr]
    theirs = {name: mrcfile.dtypes.HEADER_DTYPE.fields[name][1] for name in mrcfile.dtypes.HEADER_DTYPE.names}
    pairs = {"n": "nx", "mode": "mode", "start": "nxstart", "m": "mx", "cell": "cella", "map": "mapc", "low": "dmin",
             "high": "dmax", "extended": "nsymbt", "version": "nversion", "origin": "origin", "id": "map",
             "machine": "machst", "rms": "rms", "labels": "label"}  # fmt: skip
    assert {a: ours[a] for a in pairs} == {a: theirs[b] for a, b in pairs.items()}


@pytest.mark.parametrize(("dtype", "mode"), [("int8", 0), ("int16", 1), ("float32", 2), ("uint16", 6), ("float16", 12)])
def test_modes(tmp_path: Path, dtype: str, mode: int) -> None:
    array = (
        RNG.integers(-100, 100, (3, 20, 30)).astype(dtype)
        if dtype != "uint16"
        else np.arange(1800, dtype="u2").reshape(3, 20, 30)
    )
    image = open_image(write(tmp_path / "a.mrc", array))
    assert image.dtype == np.dtype(dtype)
    assert image.details["mode"].startswith(f"mode {mode}")
    np.testing.assert_array_equal(image.read(), array)
    assert image.voxel_size_nm == pytest.approx((4.6, 4.6, 4.6), rel=1e-6)


def test_float_noise_of_the_header_is_rounded_away(tmp_path: Path) -> None:
    image = open_image(write(tmp_path / "a.mrc", np.zeros((3, 20, 30), np.int16), (46.0, 46.0, 400.0)))
    assert image.voxel_size_nm == (40.0, 4.6, 4.6)


@pytest.mark.parametrize("size_a", [0.0, 1.0])
def test_meaningless_voxel_sizes_are_unknown(tmp_path: Path, size_a: float) -> None:
    image = open_image(write(tmp_path / "a.mrc", np.zeros((3, 20, 30), np.int16), size_a))
    assert image.voxel_size_nm is None


class TestSignedByteTrap:
    """The same bytes 0, 100 and 200 under mode 0, with what different programs say about them."""

    def file(self, tmp_path: Path) -> Path:
        array = np.array([0, 100, 200], np.uint8).view(np.int8).reshape(1, 1, 3)
        return write(tmp_path / "a.mrc", array)

    def test_standard_means_signed(self, tmp_path: Path) -> None:
        image = open_image(self.file(tmp_path))
        assert image.details["mode"] == "mode 0, signed"
        assert image.read().tolist() == [[[0, 100, -56]]]

    @pytest.mark.parametrize(("flags", "expected"), [(0, 200), (1, -56), (2, 200)])
    def test_imod_flag_decides(self, tmp_path: Path, flags: int, expected: int) -> None:
        path = patch(self.file(tmp_path), 152, "<ii", 1146047817, flags)
        assert open_image(path).read().tolist() == [[[0, 100, expected]]]

    def test_range_that_no_signed_byte_has(self, tmp_path: Path) -> None:
        path = patch(self.file(tmp_path), 76, "<ff", 0.0, 200.0)
        image = open_image(path)
        assert image.read().tolist() == [[[0, 100, 200]]]
        assert "unsigned" in image.details["mode"]

    def test_four_bit_values_are_refused(self, tmp_path: Path) -> None:
        path = patch(self.file(tmp_path), 152, "<ii", 1146047817, 16)
        with pytest.raises(FormatError, match="4-bit"):
            open_image(path)


def test_big_endian(tmp_path: Path) -> None:
    array = RNG.integers(-3000, 3000, (3, 20, 30)).astype(">i2")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(array)
        file.voxel_size = 20
    assert tmp_path.joinpath("a.mrc").read_bytes()[12:16] == b"\0\0\0\1"
    image = open_image(tmp_path / "a.mrc")
    assert image.dtype.isnative
    np.testing.assert_array_equal(image.read(), array)
    assert image.voxel_size_nm == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("stamp", [(0x11, 0x11, 0, 0), (0x44, 0x44, 0, 0), (0, 0, 0, 0)])
@pytest.mark.parametrize("shape", [(2, 256, 512), (256, 256, 256), (1, 1, 1)])
@pytest.mark.parametrize("order", [">", "<"])
def test_the_byte_order_of_bytes_with_round_sides(
    tmp_path: Path, stamp: tuple[int, ...], shape: tuple[int, int, int], order: str
) -> None:
    """256 is 65536 in the other byte order, and mode 0 is 0 in both; the stamp may be right, wrong or missing."""
    array = RNG.integers(-128, 128, shape).astype(np.int8)
    header = np.zeros((), HEADER.newbyteorder(order))
    header["n"] = header["m"] = shape[::-1]
    header["cell"] = [20 * side for side in shape[::-1]]
    header["map"] = (1, 2, 3)
    header["id"], header["machine"] = b"MAP ", stamp
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + array.tobytes())
    image = open_image(tmp_path / "a.mrc")
    np.testing.assert_array_equal(image.read(), array)
    assert image.voxel_size_nm == (2.0, 2.0, 2.0)


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    array = RNG.integers(-3000, 3000, (3, 20, 30)).astype(np.int16)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(array)
        file.set_extended_header(np.frombuffer(bytes(range(256)) * 3, "V1"))
    image = open_image(tmp_path / "a.mrc")
    assert image.details["extended header"].startswith("768 bytes")
    np.testing.assert_array_equal(image.read(), array)


def test_axes_stored_in_another_order(tmp_path: Path) -> None:
    stored = RNG.integers(0, 99, (3, 20, 30)).astype(np.int16)
    # Columns run along z, rows along x, sections along y.
    path = patch(write(tmp_path / "a.mrc", stored), 64, "<iii", 3, 1, 2)
    image = open_image(path)
    assert image.shape == (30, 3, 20)
    np.testing.assert_array_equal(image.read(), stored.transpose(2, 0, 1))


def test_origin_from_header_from_start_and_inverted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", np.zeros((3, 20, 30), np.int16), 20.0)
    patch(path, 16, "<iii", 5, 6, 7)
    assert open_image(path).origin_nm == (14.0, 12.0, 10.0)
    patch(path, 196, "<fff", 100.0, 200.0, 300.0)
    assert open_image(path).origin_nm == (30.0, 20.0, 10.0)
    patch(path, 152, "<ii", 1146047817, 5)
    assert open_image(path).origin_nm == (-30.0, -20.0, -10.0)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "words"),
    [
        (0, "<iii", (100_000, 100_000, 100), "1000000000000|2000000000000|bytes"),
        (0, "<iii", (-4, 20, 3), "damaged|no volume"),
        (12, "<i", (77,), "mode 77"),
        (12, "<i", (4,), "Fourier"),
        (64, "<iii", (1, 1, 3), "axes"),
        (92, "<i", (-5,), "extended"),
        (92, "<i", (10**9,), "truncated"),
    ],
)
def test_headers_that_make_no_sense(
    tmp_path: Path, offset: int, layout: str, values: tuple[int, ...], words: str
) -> None:
    path = patch(write(tmp_path / "a.mrc", np.zeros((3, 20, 30), np.int16)), offset, layout, *values)
    with pytest.raises(FormatError, match=words):
        open_image(path)


class TestVoxelSizes:
    """Cell and intervals; the size is known only where every axis says one that can be a voxel's."""

    ZEROS = np.zeros((3, 20, 30), np.int16)

    @pytest.mark.parametrize(
        ("size_a", "expected", "note"),
        [
            ((46, 46, 0), None, "incomplete: the file only says y 4.6 nm, x 4.6 nm"),
            ((46, 46, 1), None, "incomplete: the file only says x 4.6 nm, y 4.6 nm, and 1 Angstrom for the rest"),
            ((1, 1, 1), None, "1 Angstrom on all axes"),
            ((1.2, 1.2, 1.2), (0.12, 0.12, 0.12), ""),
            ((4.6e-9, 4.6e-9, 4e-8), None, "no voxel of a microscope"),
            ((4.6e7, 4.6e7, 4e8), None, "no voxel of a microscope"),
        ],
    )
    def test_sizes(self, tmp_path: Path, size_a: object, expected: object, note: str) -> None:
        image = open_image(write(tmp_path / "a.mrc", self.ZEROS, size_a))
        assert image.voxel_size_nm == (None if expected is None else pytest.approx(expected, rel=1e-6))
        assert note in image.details.get("voxel size", "")

    def test_intervals_of_a_part_and_of_an_image_stack(self, tmp_path: Path) -> None:
        path = patch(write(tmp_path / "a.mrc", self.ZEROS, 20.0), 28, "<iii", 60, 40, 1)
        patch(path, 40, "<fff", 1200, 800, 400)
        assert open_image(path).voxel_size_nm == (40, 2, 2)

    @pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
    def test_extended_header_of_the_microscope(self, tmp_path: Path, kind: bytes) -> None:
        layout = mrcfile.dtypes.get_ext_header_dtype(kind, "<")
        extended = np.zeros(3, layout)
        extended["Pixel size X"], extended["Pixel size Y"] = 4e-9, 5e-9
        with mrcfile.new(tmp_path / "a.mrc") as file:
            file.set_data(self.ZEROS)
            file.set_extended_header(extended)
            file.header.exttyp = kind
        image = open_image(tmp_path / "a.mrc")
        assert image.voxel_size_nm is None
        assert image.details["voxel size"] == "incomplete: the file only says y 5 nm, x 4 nm"
        assert "may be a tilt series" in image.details["note"]


def test_several_volumes_are_refused(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(RNG.integers(0, 99, (2, 3, 20, 30)).astype(np.int16))
    with pytest.raises(FormatError, match=r"2 volumes of 3 sections each \(space group 401\).*newstack -secs 0-2"):
        open_image(tmp_path / "a.mrc")


def test_one_volume_in_a_stack_is_that_volume(tmp_path: Path) -> None:
    array = RNG.integers(0, 99, (1, 3, 20, 30)).astype(np.int16)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(array)
    np.testing.assert_array_equal(open_image(tmp_path / "a.mrc").read(), array[0])


def test_colours_of_imod(tmp_path: Path) -> None:
    colours = RNG.integers(0, 255, (3, 20, 30, 3)).astype(np.uint8)
    path = patch(write(tmp_path / "a.mrc", colours[..., 0].astype(np.int8)), 12, "<i", 16)
    path.write_bytes(path.read_bytes()[:1024] + colours.tobytes())
    image = open_image(path)
    assert (image.colors, image.shape) == (3, (3, 20, 30))
    np.testing.assert_array_equal(image.read(), colours)


@pytest.mark.parametrize(
    ("name", "beside"), [("a.st", ""), ("a.mrcs", ""), ("a.mrc", "a.mrc.mdoc"), ("a.ali", "a.tlt")]
)
def test_what_may_be_a_tilt_series_is_told(tmp_path: Path, name: str, beside: str) -> None:
    path = write(tmp_path / name, RNG.integers(0, 99, (3, 20, 30)).astype(np.int16))
    if beside:
        assert "note" not in open_image(path).details
        (tmp_path / beside).write_text("")
    assert "views, not sections" in open_image(path).details["note"]


@pytest.mark.parametrize(
    ("mode", "words"), [(3, "complex integers.*transform"), (4, "fftrans"), (101, "4-bit.*newstack -mode 1")]
)
def test_modes_that_are_refused_say_a_way_on(tmp_path: Path, mode: int, words: str) -> None:
    path = patch(write(tmp_path / "a.mrc", np.zeros((3, 20, 30), np.float32)), 12, "<i", mode)
    with pytest.raises(FormatError, match=words):
        open_image(path)


sizes = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.0625, 1e5, width=32))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from(["i1", "i2", "u2", "f2", "f4"]),
    size=st.tuples(sizes, sizes, sizes),
    order=st.permutations([1, 2, 3]),
    start=st.tuples(*[st.integers(-9, 9)] * 3),
)
def test_any_header_of_mrcfile_gives_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, dtype: str, size: tuple[float, ...], order: Any, start: Any
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = write(tmp_path_factory.mktemp("m") / "a.mrc", array, size)
    patch(patch(path, 64, "<iii", *order), 16, "<iii", *start)
    image = open_image(path)
    turned = array.transpose([order[::-1].index(axis) for axis in (3, 2, 1)])
    np.testing.assert_array_equal(image.read(), turned)
    if image.voxel_size_nm is None:
        assert min(size) in (0, 1) or 1 in size
        assert image.origin_nm is None
    else:
        assert image.voxel_size_nm == pytest.approx([edge / 10 for edge in size[::-1]], rel=1e-6)
