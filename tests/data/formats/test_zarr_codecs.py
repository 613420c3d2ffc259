"""Zarr arrays of other programs: every codec and type that zarr-python writes is read, or refused in words."""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, TransposeCodec

from cristae.data.box import Box
from cristae.data.formats import open_image
from cristae.data.inspection import describe_image
from cristae.errors import FormatError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import numcodecs.zarr3 as numcodecs3

pytestmark = pytest.mark.filterwarnings("ignore")

STACK = np.random.default_rng(7).integers(0, 200, (6, 40, 56))
BOX = Box((1, 3, 5), (5, 39, 40))


def store(path: Path, dtype: str, version: Any, **options: Any) -> np.ndarray:
    array = STACK.astype(dtype)
    options = {"chunks": (3, 20, 28), **options}
    made = zarr.create_array(path, shape=array.shape, dtype=dtype, zarr_format=version, **options)
    made[...] = array
    return array


OF_2 = {
    "delta": ("i4", {"filters": [numcodecs.Delta("i4")]}),
    "delta of big-endian": (">i4", {"filters": [numcodecs.Delta(">i4")]}),
    "offset": ("f4", {"filters": [numcodecs.FixedScaleOffset(0, 1, "f4", "i2")]}),
    "quantize": ("f4", {"filters": [numcodecs.Quantize(3, "f4")]}),
    "bitround": ("f4", {"filters": [numcodecs.BitRound(12)]}),
    "packbits": ("b1", {"filters": [numcodecs.PackBits()]}),
    "shuffle": ("u2", {"filters": [numcodecs.Shuffle(2)]}),
    "astype": ("i4", {"filters": [numcodecs.AsType("i2", "i4")]}),
    "lz4": ("u2", {"compressors": numcodecs.LZ4()}),
    "lzma": ("u2", {"compressors": numcodecs.LZMA()}),
    "fletcher": ("u2", {"filters": [numcodecs.Fletcher32()]}),
    "two filters": ("i4", {"filters": [numcodecs.Delta("i4"), numcodecs.Shuffle(4)], "compressors": numcodecs.LZ4()}),
    "bz2": ("u2", {"compressors": numcodecs.BZ2()}),
    "zlib": ("u2", {"compressors": numcodecs.Zlib()}),
    "none": ("u2", {"compressors": None}),
    "big-endian": (">u2", {}),
    "big-endian lz4": (">u2", {"compressors": numcodecs.LZ4()}),
    "fortran": ("u2", {"order": "F"}),
    "fortran lz4": ("u2", {"order": "F", "compressors": numcodecs.LZ4()}),
    "half": ("f2", {"fill_value": np.nan}),
    "nested": ("u1", {"chunk_key_encoding": {"name": "v2", "separator": "/"}, "compressors": numcodecs.LZ4()}),
}
OF_3 = {
    "delta": ("i4", {"filters": [numcodecs3.Delta(dtype="i4")]}),
    "lz4": ("u2", {"compressors": numcodecs3.LZ4()}),
    "lzma": ("u2", {"compressors": numcodecs3.LZMA()}),
    "bz2": ("u2", {"compressors": numcodecs3.BZ2()}),
    "zlib": ("u2", {"compressors": numcodecs3.Zlib()}),
    "zstd": ("u2", {"compressors": numcodecs3.Zstd()}),
    "checksum": ("u2", {"compressors": [numcodecs3.CRC32()]}),
    "in shards": ("u2", {"compressors": numcodecs3.LZ4(), "shards": (6, 40, 56)}),
    "big-endian": ("u2", {"serializer": BytesCodec(endian="big")}),
    "transposed": ("u2", {"filters": [TransposeCodec(order=(2, 1, 0))]}),
    "half": ("f2", {"fill_value": np.nan}),
    "bool": ("bool", {"compressors": numcodecs3.LZ4()}),
}


@pytest.mark.parametrize(
    ("version", "name"), [*((2, name) for name in OF_2), *((3, name) for name in OF_3)], ids=lambda value: str(value)
)
def test_codecs_and_types(tmp_path: Path, version: int, name: str) -> None:
    dtype, options = (OF_2 if version == 2 else OF_3)[name]
    array = store(tmp_path / "a.zarr", dtype, version, **options)
    image = open_image(tmp_path / "a.zarr")
    # Lossy filters lose as much for zarr-python.
    expected = np.asarray(zarr.open_array(tmp_path / "a.zarr", mode="r")[...])
    assert np.abs(expected.astype(float) - array.astype(float)).max() < 1
    expected = expected.view(np.uint8) if expected.dtype == bool else expected
    assert image.dtype == expected.dtype.newbyteorder("=")
    voxels = image.read(BOX)
    np.testing.assert_array_equal(voxels, expected[BOX.slices])
    assert voxels.dtype == image.dtype
    assert voxels.flags.writeable


def test_many_threads_read_alike(tmp_path: Path) -> None:
    array = store(tmp_path / "a.zarr", "i4", 2, filters=[numcodecs.Delta("i4")])
    image = open_image(tmp_path / "a.zarr")
    boxes = list(Box.of_shape(STACK.shape).blocks((2, 13, 17)))
    with ThreadPoolExecutor(8) as pool:
        for box, voxels in zip(boxes, pool.map(image.read, boxes), strict=True):
            np.testing.assert_array_equal(voxels, array[box.slices])


def edit(path: Path, **changes: Any) -> None:
    file = next(file for file in (path / ".zarray", path / "zarr.json") if file.exists())
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


PICKLE = {"id": "pickle", "protocol": 5}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"filters": [PICKLE]}, "Python objects .codec 'pickle'.*could run any"),
        ({"filters": [{"id": "json2"}]}, "Python objects .codec 'json2'"),
        ({"dtype": "|O", "filters": [PICKLE]}, "Python objects, which are never loaded"),
        ({"dtype": "<U5"}, "holds text"),
        ({"dtype": [["a", "<i4"], ["b", "|u1"]]}, "holds records"),
        ({"dtype": "<M8[s]"}, "holds dates"),
        ({"dtype": "<c8"}, "complex numbers .*; expected integers or floats"),
        ({"compressor": {"id": "zfpy"}}, "codec 'zfpy' is not read.*zstd, gzip or blosc"),
        ({"compressor": {"id": "imagecodecs_jpegxl"}}, "codec 'imagecodecs_jpegxl' is not read"),
        ({"filters": [{"id": "delta", "dtype": "|O"}]}, "codec 'delta' is not read"),
        ({"filters": [{"id": "delta", "dtype": "<i4"}, 7]}, "cannot be opened"),
        ({"shape": "big"}, "cannot be opened"),
        ({"chunks": [10**5, 10**5, 10**5], "compressor": {"id": "lz4"}}, "GiB each"),
    ],
)
def test_what_is_not_read_of_version_2(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    store(tmp_path / "a.zarr", "u2", 2)
    edit(tmp_path / "a.zarr", **changes)
    with pytest.raises(FormatError, match=words):
        open_image(tmp_path / "a.zarr").read()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_type": "string"}, "holds text"),
        ({"data_type": "int128"}, "type 'int128' is not read"),
        ({"data_type": "bfloat16"}, "'bfloat16' values; expected integers or floats"),
        ({"data_type": {"name": "numpy.datetime64", "configuration": {}}}, "cannot be opened"),
        ({"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]}, "never loaded|not read"),
        ({"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zfp"}]}, "codec 'zfp' is not"),
        ({"storage_transformers": [{"name": "cipher"}]}, "storage transformers are not read"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {}}}, "chunk grid 'rectilinear' is not read"),
        ({"codecs": 5}, "cannot be opened"),
        ({"codecs": [7]}, "cannot be opened"),
    ],
)
def test_what_is_not_read_of_version_3(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    store(tmp_path / "a.zarr", "u2", 3)
    edit(tmp_path / "a.zarr", **changes)
    with pytest.raises(FormatError, match=words):
        open_image(tmp_path / "a.zarr").read()


def first_chunk(path: Path) -> Path:
    return next(f for f in sorted(path.rglob("*")) if f.is_file() and f.name not in (".zarray", ".zattrs", "zarr.json"))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + bytes(16))


@pytest.mark.parametrize(
    "damage", [cut, lengthen, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"?" * 50)]
)
@pytest.mark.parametrize(
    ("version", "options"),
    [
        (2, {"compressors": None}),
        (3, {"compressors": None}),
        (3, {"shards": (6, 40, 56)}),
        (2, {"filters": [numcodecs.Delta("u2")], "compressors": None}),
        (3, {"shards": (6, 40, 56), "compressors": numcodecs3.LZ4()}),
    ],
    ids=["2 raw", "3 raw", "3 shards", "2 delta", "3 lz4 shards"],
)  # fmt: skip
def test_damaged_chunks(tmp_path: Path, version: int, options: dict[str, Any], damage: Any) -> None:
    store(tmp_path / "a.zarr", "u2", version, **options)
    damage(first_chunk(tmp_path / "a.zarr"))
    with pytest.raises(FormatError, match=r"does not decode, the file is damaged: .*\. Copy it again"):
        open_image(tmp_path / "a.zarr").read()


@pytest.mark.parametrize("compressors", ["auto", numcodecs.LZ4()], ids=["plain", "lz4"])
def test_missing_chunks_are_filled(tmp_path: Path, compressors: Any) -> None:
    array = store(tmp_path / "a.zarr", "u2", 2, compressors=compressors, fill_value=7)
    first_chunk(tmp_path / "a.zarr").unlink()
    array[:3, :20, :28] = 7
    image = open_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(image.read(), array)
    assert "note" not in image.details
    for file in list((tmp_path / "a.zarr").iterdir()):
        if not file.name.startswith("."):
            file.unlink()
    problems = describe_image("a", open_image(tmp_path / "a.zarr")).problems
    assert any("no chunk is stored" in problem for problem in problems)


@pytest.mark.parametrize(("version", "dtype"), [(2, "u2"), (3, "u2"), (3, "bool"), (3, "f4")])
def test_no_fill_value(tmp_path: Path, version: int, dtype: str) -> None:
    array = store(tmp_path / "a.zarr", dtype, version)
    edit(tmp_path / "a.zarr", fill_value=None)
    first_chunk(tmp_path / "a.zarr").unlink()
    array[:3, :20, :28] = 0
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), array)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    chunks=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from(["|u1", "<i2", ">u2", "<i4", ">f4", "<f8", "<u8", "<f2"]),
    codec=st.sampled_from([numcodecs.LZ4(), numcodecs.LZMA(), numcodecs.Zlib(), numcodecs.Blosc(), None]),
    delta=st.booleans(),
    order=st.sampled_from(["C", "F"]),
)  # fmt: skip
def test_any_array_of_version_2(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, chunks: Any, dtype: str, codec: Any, delta: bool, order: Any
) -> None:
    path = tmp_path_factory.mktemp("z") / "a.zarr"
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    filters = [numcodecs.Delta(dtype)] if delta else None
    made = zarr.create_array(
        path, shape=shape, dtype=dtype, chunks=chunks, zarr_format=2, compressors=codec, filters=filters, order=order
    )
    made[...] = array
    image = open_image(path)
    assert image.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image.read(), array)
