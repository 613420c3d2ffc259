"""MRC files as mrcfile, IMOD and older programs write them."""

import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest

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
