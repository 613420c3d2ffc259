"""Laws: what tifffile and Pillow write with any metadata is read as the same values, sizes and names, or refused."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageOps

from cristae.data.box import Box
from cristae.data.formats import open_channels, open_image
from cristae.data.formats.orientation import ORIENTATIONS
from cristae.errors import FormatError

NM = {"nm": 1.0, "micron": 1000.0, "um": 1000.0, "\\u00B5m": 1000.0, "mm": 1e6, "pm": 1e-3}
OME_NM = {"nm": 1.0, "µm": 1000.0, "mm": 1e6, "Å": 0.1, "pm": 1e-3, "m": 1e9}
EDGES = st.integers(1, 4000).map(lambda tenths: tenths / 10)
STORAGE = st.sampled_from([{}, {"compression": "zlib"}, {"compression": "lzw", "rowsperstrip": 3}, {"tile": (16, 16)}])
DTYPES = st.sampled_from(["u1", "i1", "u2", "i2", "f4", ">u2"])
quick = settings(max_examples=60)


@contextmanager
def place(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / name


def array(seed: int, *shape: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


def check_channels(path: Path, stored: np.ndarray, names: tuple[str, ...] | None = None) -> None:
    """`stored` is (Z, C, Y, X); a box of each channel is read too."""
    images = open_channels(path)
    assert len(images) == stored.shape[1]
    for channel, image in enumerate(images):
        expected = stored[:, channel]
        assert image.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(image.read(), expected)
        z, y, x = image.shape
        box = Box((z // 2, y // 3, x // 2), (z, y, x))
        np.testing.assert_array_equal(image.read(box), expected[box.slices])
        if names is not None and len(images) > 1:
            assert image.details["channel"] == f"{channel} '{names[channel]}'"


@quick
@given(
    seed=st.integers(0, 99), z=st.integers(1, 9), c=st.integers(1, 4), dtype=st.sampled_from(["u1", "u2", "f4"]),
    sizes=st.tuples(EDGES, EDGES, EDGES), units=st.tuples(*[st.sampled_from(sorted(NM))] * 3),
    sign=st.sampled_from([1, -1]), code=st.integers(1, 8),
)  # fmt: skip
def test_imagej(seed: int, z: int, c: int, dtype: str, sizes: Any, units: Any, sign: int, code: int) -> None:
    stored = array(seed, z, c, 9, 11, dtype=dtype)
    edges = dict(zip("zyx", sizes, strict=True))
    per_unit = {axis: NM[unit] / edges[axis] for axis, unit in zip("zyx", units, strict=True)}
    metadata = {"axes": "ZCYX", "unit": units[2], "yunit": units[1], "zunit": units[0]}
    metadata |= {"spacing": sign / per_unit["z"], "Labels": [f"p{i}" for i in range(z * c)]}
    with place("a.tif") as path:
        tifffile.imwrite(path, stored, imagej=True, metadata=metadata, resolution=(per_unit["x"], per_unit["y"]),
                         extratags=[(274, "H", 1, code, True)])  # fmt: skip
        shown = np.stack([[ORIENTATIONS[code].shown(plane) for plane in planes] for planes in stored])
        check_channels(path, shown, tuple(f"p{i}" for i in range(c)))
        size = open_channels(path)[0].voxel_size_nm
        expected = (edges["z"], edges["x"], edges["y"]) if ORIENTATIONS[code].transposed else sizes
        assert size == pytest.approx(expected, rel=1e-5)


@quick
@given(
    seed=st.integers(0, 99), axes=st.sampled_from(["ZYX", "ZCYX", "CZYX", "TZCYX"]), z=st.integers(1, 9),
    c=st.integers(1, 4), dtype=DTYPES, storage=STORAGE, big=st.booleans(),
    sizes=st.dictionaries(st.sampled_from("XYZ"), st.tuples(EDGES, st.sampled_from([*sorted(OME_NM), "pixel", None]))),
)  # fmt: skip
def test_ome(seed: int, axes: str, z: int, c: int, dtype: str, storage: Any, big: bool, sizes: Any) -> None:
    many = {"T": 1, "Z": z, "C": c if "C" in axes else 1, "Y": 19, "X": 21}
    stored = array(seed, *(many[axis] for axis in axes), dtype=dtype)
    names = tuple(f"channel {i}" for i in range(many["C"]))
    metadata = {"axes": axes, "Channel": {"Name": list(names)}}
    metadata |= {f"PhysicalSize{axis}": size for axis, (size, _) in sizes.items()}
    metadata |= {f"PhysicalSize{axis}Unit": unit for axis, (_, unit) in sizes.items() if unit}
    with place("a.ome.tif") as path:
        tifffile.imwrite(path, stored, metadata=metadata, photometric="minisblack", bigtiff=big, **storage)
        order = "".join(axis for axis in axes if axis in "ZCYX")
        plain = stored.reshape([many[axis] for axis in order])
        plain = plain if "C" in order else plain[:, None]
        check_channels(path, np.moveaxis(plain, order.index("C"), 1) if "C" in order else plain, names)
        edges = [
            sizes[axis][0] * OME_NM.get(sizes[axis][1] or "µm", np.nan) if axis in sizes else np.nan for axis in "ZYX"
        ]
        size = open_channels(path)[0].voxel_size_nm
        assert size == (pytest.approx(edges) if np.isfinite(edges).all() else None)


@quick
@given(
    seed=st.integers(0, 99), shape=st.lists(st.integers(1, 5), min_size=0, max_size=2), dtype=DTYPES, storage=STORAGE,
    described=st.booleans(), white=st.booleans(), code=st.integers(1, 8),
)  # fmt: skip
def test_arrays_by_tifffile(
    seed: int, shape: list[int], dtype: str, storage: Any, described: bool, white: bool, code: int
) -> None:
    stored = array(seed, *shape, 19, 21, dtype=dtype)
    options = {} if described else {"metadata": None}
    photometric = "miniswhite" if white else "minisblack"
    with place("a.tif") as path:
        tifffile.imwrite(
            path, stored, photometric=photometric, extratags=[(274, "H", 1, code, False)], **storage, **options
        )
        numbers = np.dtype(dtype).kind == "u"
        if (described and len([n for n in shape if n > 1]) > 1) or (white and not numbers):
            with pytest.raises(FormatError, match=r"a\.tif: "):
                open_image(path)
            return
        full = np.iinfo(dtype).max if numbers else 0
        shown = np.stack([ORIENTATIONS[code].shown(plane) for plane in stored.reshape(-1, 19, 21)])
        np.testing.assert_array_equal(open_image(path).read(), full - shown if white else shown)


@quick
@given(
    seed=st.integers(0, 99), mode=st.sampled_from(["1", "L", "LA", "RGB", "RGBA", "P", "I;16"]), code=st.integers(1, 8),
    suffix=st.sampled_from([".png", ".jpg", ".bmp", ".tif"]), clear=st.booleans(),
)  # fmt: skip
def test_pictures_by_pillow(seed: int, mode: str, code: int, suffix: str, clear: bool) -> None:
    pixels = array(seed, 13, 17, 4, dtype="u1") * 2
    picture = PillowImage.fromarray(pixels).convert("RGB").quantize(7) if mode == "P" else None
    if mode == "I;16":
        picture = PillowImage.fromarray(pixels[..., 0].astype(np.uint16) * 99)
    picture = picture or PillowImage.fromarray(pixels).convert(mode)
    tags = PillowImage.Exif()
    tags[274] = code
    options: dict[str, Any] = {} if suffix == ".bmp" else {"exif": tags}
    if clear and suffix == ".png" and mode in ("L", "RGB"):
        options["transparency"] = int(pixels[0, 0, 0]) if mode == "L" else tuple(map(int, pixels[0, 0, :3]))
    with place(f"a{suffix}") as path:
        try:
            picture.save(path, **options, **({"compression": "tiff_deflate"} if suffix == ".tif" else {}))
        except (OSError, ValueError):
            return
        with PillowImage.open(path) as opened:
            shown = ImageOps.exif_transpose(opened)
            if "transparency" in options:
                shown = shown.convert("LA" if mode == "L" else "RGBA")
            image = open_image(path)
            np.testing.assert_array_equal(image.read()[0], np.asarray(shown))
            assert image.colors == {2: 1}.get(np.asarray(shown).ndim, np.asarray(shown).shape[-1])
