"""DM3 and DM4 files made by hand from the description of the format, read by ncempy.

https://personal.ntu.edu.sg/cbb/info/dmformat/index.html
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cristae.data.formats import open_image
from cristae.errors import FormatError

STACK = np.random.default_rng(8).integers(0, 255, (5, 20, 30)).astype("u2")
TYPES = {"i2": 1, "f4": 2, "u1": 6, "i4": 7, "i1": 9, "u2": 10, "u4": 11, "f8": 12}
CODES = {"i2": 2, "i4": 3, "u2": 4, "u4": 5, "f4": 6, "f8": 7, "i1": 9, "u1": 10}


class Writer:
    """Tags of one version: 3 has numbers of 32 bits, 4 of 64."""

    def __init__(self, version: int) -> None:
        self.version, self.wide = version, ">i" if version == 3 else ">q"

    def number(self, value: int) -> bytes:
        return struct.pack(self.wide, value)

    def tag(self, kind: int, name: str, content: bytes) -> bytes:
        size = self.number(len(content)) if self.version == 4 else b""
        return struct.pack(">BH", kind, len(name)) + name.encode() + size + content

    def group(self, tags: dict[str, Any] | list[Any]) -> bytes:
        named = tags.items() if isinstance(tags, dict) else [("", tag) for tag in tags]
        return b"\1\0" + self.number(len(tags)) + b"".join(self.entry(name, value) for name, value in named)

    def entry(self, name: str, value: Any) -> bytes:
        if isinstance(value, dict | list):
            return self.tag(20, name, self.group(value))
        if isinstance(value, str):
            value = np.frombuffer(value.encode("utf-16-le"), "<u2")
        if isinstance(value, np.ndarray):
            info, data = [20, CODES[value.dtype.str[1:]], value.size], value.tobytes()
        else:
            info, data = ([5], struct.pack("<I", value)) if isinstance(value, int) else ([6], struct.pack("<f", value))
        words = b"".join(self.number(word) for word in [len(info), *info])
        return self.tag(21, name, b"%%%%" + words + data)

    def file(self, tags: dict[str, Any]) -> bytes:
        root = self.group(tags)
        return struct.pack(">i", self.version) + self.number(len(root)) + struct.pack(">i", 1) + root + bytes(8)


def picture(array: np.ndarray, size: tuple[float, ...], units: tuple[str, ...]) -> dict[str, Any]:
    """One image; sizes and units are listed x first."""
    dimensions = [{"Origin": 0.0, "Scale": s, "Units": u} for s, u in zip(size, units, strict=True)]
    data = {
        "Calibrations": {"Dimension": dimensions},
        "Data": array.ravel(),
        "DataType": TYPES[array.dtype.str[1:]],
        "Dimensions": list(array.shape[::-1]),
        "PixelDepth": array.itemsize,
    }
    return {"ImageData": data}


def write(
    path: Path, array: np.ndarray, size: tuple[float, ...], units: tuple[str, ...], *, thumbnail: bool = True
) -> Path:
    small = picture(np.zeros((4, 4), "i4"), (1.0, 1.0), ("", ""))
    images = [small] * thumbnail + [picture(array, size, units)]
    path.write_bytes(Writer(int(path.suffix[-1])).file({"ImageList": images}))
    return path


def test_without_ncempy_the_way_on_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.dm3", STACK, (4.0, 4.0, 40.0), ("nm",) * 3)
    monkeypatch.setitem(sys.modules, "ncempy.io.dm", None)
    with pytest.raises(FormatError, match=r"pip install cristae\[dm\].*GPL.*TIFF"):
        open_image(path)


@pytest.fixture
def _ncempy() -> None:
    pytest.importorskip("ncempy")


@pytest.mark.usefixtures("_ncempy")
class TestWithNcempy:
    @pytest.mark.parametrize("suffix", [".dm3", ".dm4"])
    @pytest.mark.parametrize("thumbnail", [True, False])
    @pytest.mark.parametrize("dtype", TYPES)
    def test_stack(self, tmp_path: Path, suffix: str, thumbnail: bool, dtype: str) -> None:
        array = STACK.astype(dtype)
        path = write(tmp_path / f"a{suffix}", array, (4.0, 5.0, 0.04), ("nm", "nm", "µm"), thumbnail=thumbnail)
        image = open_image(path)
        assert (image.shape, image.dtype) == (STACK.shape, np.dtype(dtype))
        assert (image.voxel_size_nm, image.origin_nm) == ((40, 5, 4), None)
        np.testing.assert_array_equal(image.read(), array)

    def test_slice(self, tmp_path: Path) -> None:
        image = open_image(write(tmp_path / "a.dm4", STACK[0], (4.0, 4.0), ("nm", "nm")))
        np.testing.assert_array_equal(image.read(), STACK[:1])
        assert image.details["voxel size"] == "incomplete: the file only says y 4 nm, x 4 nm"

    def test_stack_without_a_thickness(self, tmp_path: Path) -> None:
        image = open_image(write(tmp_path / "a.dm3", STACK, (4.0, 4.0, 1.0), ("nm", "nm", "")))
        assert image.voxel_size_nm is None
        assert "z 1 (no unit)" in image.details["voxel size"]

    def test_spectra_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="third axis is in eV"):
            open_image(write(tmp_path / "a.dm3", STACK, (4.0, 4.0, 1.0), ("nm", "nm", "eV")))

    def test_truncated(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.dm3", STACK, (4.0, 4.0, 40.0), ("nm",) * 3)
        content = path.read_bytes()
        for length in (0, 8, 100, len(content) // 2, len(content) - 100):
            path.write_bytes(content[:length])
            with pytest.raises(FormatError, match=r"truncated|damaged|empty"):
                open_image(path)
