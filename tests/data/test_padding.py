"""Padding is found where there is some, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.formats import open_image
from cristae.data.image import Image, image_of_array
from cristae.data.padding import find_padding, inside_of

SHAPE = (6, 128, 160)
YY, XX = np.mgrid[:128, :160]


def tissue(low: int = 1, high: int = 254) -> np.ndarray:
    """Grey values as an electron microscope gives them: smooth noise."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, SHAPE), (0, 1.5, 1.5))
    voxels: np.ndarray = (128 + 30 * noise / noise.std()).clip(low, high).astype(np.uint8)
    return voxels


OUTSIDE = {
    "a strip": XX < 32,
    "corners of a rotated section": abs(YY - 64) + abs(XX - 80) > 110,
    "around a disc": (YY - 64) ** 2 + (XX - 80) ** 2 > 60**2,
    "a frame": np.maximum(abs(YY - 63.5), abs(XX - 79.5) - 16) > 48,
}


@pytest.mark.parametrize("where", OUTSIDE)
@pytest.mark.parametrize(("value", "dtype"), [(0, np.uint8), (255, np.uint8), (65535, np.uint16), (-32768, np.int16)])
def test_its_value_and_share(where: str, value: int, dtype: type) -> None:
    voxels: np.ndarray = tissue().astype(dtype)
    voxels[:, OUTSIDE[where]] = value
    found = find_padding(image_of_array(voxels))
    assert found is not None
    assert found.value == value
    assert found.share == pytest.approx(OUTSIDE[where].mean(), abs=0.02)
    assert found.inside < 0.005
    assert found.slices == (0, 1, 2, 3, 4, 5)
    assert found.complete


def test_a_mean_grey_fills_as_well_as_a_float() -> None:
    voxels = tissue()
    voxels[:, :40] = 128
    found = find_padding(image_of_array(voxels))
    assert found is not None
    assert found.value == 128
    assert found.inside == pytest.approx((tissue() == 128).mean(), abs=0.005)
    scaled = np.where(YY < 40, 0, tissue() / np.float32(255))
    assert find_padding(image_of_array(scaled.astype(np.float32))) is not None


def test_slices_that_drift_are_named() -> None:
    voxels = tissue()
    for z in range(6):
        voxels[z, :, : 12 * z] = 0
    voxels[5] = 0
    found = find_padding(image_of_array(voxels))
    assert found is not None
    assert found.slices == (1, 2, 3, 4, 5)


FALSE_ALARMS = {
    "nothing": tissue(),
    "a dark nucleus": np.where((YY - 64) ** 2 + (XX - 80) ** 2 < 40**2, 0, tissue()),
    "clipped blacks": (2.0 * (tissue().astype(float) - 128)).clip(0, 255),
    "clipped noise": np.random.default_rng(1).normal(-10, 60, SHAPE).clip(0, 255),
    "a thin line of dead pixels": np.where(YY < 1, 0, tissue()),
    "one colour": np.full(SHAPE, 7),
    "a mask": (XX < 80) * 255,
    "ids": np.broadcast_to(YY // 8 * 20 + XX // 8, SHAPE) * (YY > 40),
}


@pytest.mark.parametrize("what", FALSE_ALARMS)
def test_no_alarm_for(what: str) -> None:
    dtype = np.uint16 if what == "ids" else np.uint8
    assert find_padding(image_of_array(np.broadcast_to(FALSE_ALARMS[what], SHAPE).astype(dtype))) is None


def test_transparent_corners_of_a_mosaic(tmp_path: Path) -> None:
    alpha = np.where(XX < 30, 0, 255).astype(np.uint8)
    Picture.fromarray(np.stack([tissue()[0]] * 3 + [alpha], -1)).save(tmp_path / "a.png")
    found = find_padding(open_image(tmp_path / "a.png"))
    assert found is not None
    assert found.transparent
    assert (found.shown, inside_of(found, "uint8")) == ("transparent", "opaque")
    assert found.share == pytest.approx(30 / 160, abs=0.03)


def test_unrelated_images_of_several_sizes() -> None:
    voxels = tissue()
    voxels[:, :30] = 0
    images = [image_of_array(voxels[z, : 90 + z]) for z in range(4)]
    found = find_padding([*images, image_of_array(tissue()[5])])
    assert found is not None
    assert found.slices == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (0, np.uint8, "nonzero"),
        (255, np.uint8, "0-254"),
        (65535, np.uint16, "0-65534"),
        (-32768, np.int16, "-32767-32767"),
        (0, np.float32, "nonzero"),
        (128, np.uint8, None),
    ],
)
def test_how_a_mask_of_the_image_itself_leaves_it_out(value: int, dtype: type, expected: str | None) -> None:
    voxels: np.ndarray = tissue().astype(dtype)
    voxels[:, :50] = value
    found = find_padding(image_of_array(voxels))
    assert found is not None
    assert inside_of(found, np.dtype(dtype).name) == expected


def test_of_a_very_large_volume_little_is_read() -> None:
    read: list[int] = []

    def reader(box: Box) -> np.ndarray:
        read.append(box.size)
        z, y, x = np.ogrid[box.slices]
        noise = (z * 7919 + y * 104_729 + x * 1_299_709) % 251 + 1
        return np.where(x < 40_000, 0, noise).astype(np.uint8)

    template = image_of_array(np.zeros((1, 1, 1), np.uint8))
    image = Image(template.path, "made", (5000, 100_000, 100_000), np.dtype(np.uint8), reader, chunks=(64, 256, 256))
    found = find_padding(image)
    assert found is not None
    assert found.value == 0
    assert not found.complete
    assert found.share == pytest.approx(0.4, abs=0.1)
    assert max(read) <= 2**25
    assert sum(read) < 2**20
