"""NIfTI files as nibabel writes them; nibabel's own reading of values and affines is the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.formats import nifti, open_channels, open_image
from cristae.errors import ChannelError, CristaeError, FormatError

STACK = np.random.default_rng(5).integers(0, 255, (5, 20, 30)).astype(np.uint8)
"""z, y, x."""


def write(
    path: Path,
    array: np.ndarray,
    *,
    size: tuple[float, ...] = (0.004, 0.004, 0.04),
    unit: str = "micron",
    time: str = "unknown",
    affine: np.ndarray | None = None,
    kind: Any = nibabel.Nifti1Image,
) -> Path:
    """Write an array (x, y, z, ...) with edges (x, y, z)."""
    image = kind(array, np.diag([*size, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units(unit, time)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "u2", "i4", "u4", "f4", ">f8"])
def test_values_axes_and_voxel_size(tmp_path: Path, name: str, kind: Any, dtype: str) -> None:
    path = write(tmp_path / name, STACK.T.astype(dtype), kind=kind)
    image = open_image(path)
    assert (image.shape, image.dtype) == (STACK.shape, np.dtype(dtype).newbyteorder("="))
    assert (image.voxel_size_nm, image.origin_nm) == ((40, 4, 4), None)
    np.testing.assert_array_equal(image.read(), STACK.astype(dtype))
    np.testing.assert_array_equal(image.read(Box((1, 2, 3), (4, 9, 20))), STACK.astype(dtype)[1:4, 2:9, 3:20])


@pytest.mark.parametrize(
    ("unit", "size", "expected", "note"),
    [
        ("micron", (1, 1, 1), (1000, 1000, 1000), ""),
        ("mm", (4e-6, 5e-6, 4e-5), (40, 5, 4), ""),
        ("meter", (4e-9, 5e-9, 4e-8), (40, 5, 4), ""),
        ("mm", (1, 1, 1), None, "1 mm on all axes, which is what programs write"),
        ("mm", (4, 4, 40), None, "4 x 4 x 40 mm (x, y, z), which is no voxel of a microscope"),
        ("mm", (1, 1, 5), None, "no voxel of a microscope"),
        ("unknown", (4, 4, 40), None, "the file only says 4 x 4 x 40 (no unit)"),
    ],
)
def test_units(tmp_path: Path, unit: str, size: Any, expected: Any, note: str) -> None:
    image = open_image(write(tmp_path / "a.nii", STACK.T, size=size, unit=unit))
    assert image.voxel_size_nm == expected
    assert note in image.details.get("voxel size", "")


def test_a_header_that_contradicts_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", STACK.T)
    content = bytearray(path.read_bytes())
    content[80:84] = np.array([0.008], "<f4").tobytes()  # pixdim of x
    path.write_bytes(content)
    assert "contradicts itself" in open_image(path).details["voxel size"]


class TestPlace:
    def test_origin(self, tmp_path: Path) -> None:
        affine = np.diag([0.004, 0.004, 0.04, 1])
        affine[:3, 3] = 1, -2, 3
        image = open_image(write(tmp_path / "a.nii", STACK.T, affine=affine))
        assert (image.voxel_size_nm, image.origin_nm) == ((40, 4, 4), (3000, -2000, 1000))
        assert image.orientation == "RAS"

    @pytest.mark.parametrize(("signs", "codes"), [((-1, -1, 1), "LPS"), ((1, 1, -1), "RAI")])
    def test_flips_are_told_and_change_nothing(self, tmp_path: Path, signs: Any, codes: str) -> None:
        affine = np.diag([*(s * e for s, e in zip(signs, (0.004, 0.004, 0.04), strict=True)), 1])
        affine[:3, 3] = 1, 2, 3
        image = open_image(write(tmp_path / "a.nii", STACK.T, affine=affine))
        assert (image.voxel_size_nm, image.origin_nm) == ((40, 4, 4), None)
        assert image.orientation == codes
        assert "note" not in image.details
        np.testing.assert_array_equal(image.read(), STACK)

    def test_quarter_turns_and_other_angles(self, tmp_path: Path) -> None:
        quarter = np.array([[0, 0.004, 0, 0], [0.004, 0, 0, 0], [0, 0, 0.04, 0], [0, 0, 0, 1.0]])
        image = open_image(write(tmp_path / "a.nii", STACK.T, affine=quarter))
        assert (image.voxel_size_nm, image.orientation) == ((40, 4, 4), "ARS")
        cos, sin = np.cos(0.3), np.sin(0.3)
        turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        oblique = open_image(write(tmp_path / "b.nii", STACK.T, affine=turn @ np.diag([0.004, 0.004, 0.04, 1])))
        assert "not 90 degrees" in oblique.details["note"]
        assert oblique.voxel_size_nm == pytest.approx((40, 4, 4), rel=1e-6)


@pytest.mark.parametrize(
    ("slope", "shift", "dtype"), [(1, -100, "i4"), (0.5, 0, "f4"), (2, 7, "f4"), (1, 0.5, "f4"), (0, 3, "u1")]
)
def test_scaling_is_applied(tmp_path: Path, slope: float, shift: float, dtype: str) -> None:
    path = write(tmp_path / "a.nii", STACK.T)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, shift], "<f4").tobytes()
    path.write_bytes(content)
    image = open_image(path)
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.read(), np.asarray(nibabel.load(path).dataobj).T.astype(dtype))
    assert ("values" in image.details) == (slope != 0)


def test_fourth_axis(tmp_path: Path) -> None:
    two = np.stack([STACK.T, 255 - STACK.T], axis=-1)
    path = write(tmp_path / "a.nii", two)
    with pytest.raises(ChannelError, match="2 channels"):
        open_image(path)
    np.testing.assert_array_equal(open_image(f"{path}::channel=1").read(), 255 - STACK)
    assert len(open_channels(path)) == 2
    with pytest.raises(FormatError, match="2 time points"):
        open_image(write(tmp_path / "b.nii", two, time="sec"))
    np.testing.assert_array_equal(open_image(f"{tmp_path}/b.nii::axes=xyzc::channel=0").read(), STACK)


def test_vectors_are_channels_and_colours_are_colours(tmp_path: Path) -> None:
    vectors = np.stack([STACK.T, STACK.T + 1, STACK.T + 2], axis=-1)[:, :, :, None]
    np.testing.assert_array_equal(open_image(f"{write(tmp_path / 'a.nii', vectors)}::channel=2").read(), STACK + 2)
    colours = np.zeros(STACK.T.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = STACK.T
    image = open_image(write(tmp_path / "b.nii", colours))
    assert (image.colors, image.shape) == (3, STACK.shape)
    np.testing.assert_array_equal(image.read()[..., 1], STACK)
    assert not image.read()[..., ::2].any()


def test_flat(tmp_path: Path) -> None:
    image = open_image(write(tmp_path / "a.nii", STACK[0].T))
    np.testing.assert_array_equal(image.read()[0], STACK[0])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, STACK.T)
    content = path.read_bytes()
    for length in (0, 20, 200, 347, 400, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"truncated|damaged|empty|not opened"):
            open_image(path).read()


def test_damage_inside_a_packed_file_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", STACK.T)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum
    path.write_bytes(content)
    with pytest.raises(FormatError, match="does not unpack"):
        open_image(path).read()


def test_large_packed_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.nii.gz", STACK.T)
    monkeypatch.setattr(nifti, "MAX_UNPACKED_BYTES", 3000)
    with pytest.raises(FormatError, match="run gunzip on it"):
        open_image(path)


def test_complex_values_and_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="complex"):
        open_image(write(tmp_path / "a.nii", STACK.T.astype("c8")))
    nibabel.save(nibabel.Nifti1Pair(STACK.T, np.eye(4)), tmp_path / "b.img")
    for name in ("b.img", "b.hdr"):
        with pytest.raises(FormatError, match=r"NIfTI (header|pair)"):
            open_image(tmp_path / name)


edges = st.floats(0.0625, 99, width=32)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    size=st.tuples(edges, edges, edges),
    unit=st.sampled_from(["micron", "mm", "meter", "unknown"]),
    time=st.sampled_from(["sec", "unknown"]),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8"]),
)
def test_any_header_gives_the_values_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], size: Any, unit: str, time: str, dtype: str
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = write(tmp_path_factory.mktemp("n") / "a.nii", array, size=size, unit=unit, time=time)
    try:
        images = open_channels(path)
    except CristaeError:
        assert len(shape) > 3
        assert max(shape[3:]) > 1
        return
    volume = array.reshape(*shape, *[1] * (3 - len(shape))) if len(shape) < 3 else array
    channels = volume.reshape(*volume.shape[:3], -1)
    assert len(images) == channels.shape[3]
    for channel, image in enumerate(images):
        np.testing.assert_array_equal(image.read(), channels[..., channel].T)
        if image.voxel_size_nm is not None:
            assert unit == "micron"
            assert image.voxel_size_nm == pytest.approx([edge * 1000 for edge in size[::-1]], rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 351), value=st.integers(0, 255))
def test_any_damage_of_the_header_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = write(tmp_path_factory.mktemp("n") / "a.nii", STACK.T)
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)
    try:
        image = open_image(path)
        assert image.read().shape[:3] == image.shape
    except CristaeError:
        pass


def test_nibabel_stays_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.nii", STACK.T)
    content = bytearray(path.read_bytes())
    content[254:256] = b"\xff\x7f"  # sform_code
    path.write_bytes(content)
    open_image(path)
    assert capfd.readouterr() == ("", "")
