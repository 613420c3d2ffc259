"""Neuroglancer precomputed volumes: written by tensorstore, with damage made by hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.formats import open_channels, open_image
from cristae.data.inspection import describe_image, images_in
from cristae.errors import FormatError, MissingFileError

STACK = np.random.default_rng(3).integers(0, 250, (6, 40, 56)).astype(np.uint16)


def precomputed(
    path: Path,
    array: np.ndarray = STACK,
    *,
    encoding: str = "raw",
    resolution: tuple[float, ...] = (4, 5, 50),
    offset: tuple[int, ...] = (0, 0, 0),
    kind: str = "image",
    sharded: bool = False,
) -> Path:
    """An array (Z, Y, X) or (C, Z, Y, X); a scale is added to those that are there."""
    many = array if array.ndim == 4 else array[None]
    scale: dict[str, Any] = {
        "size": many.shape[:0:-1], "encoding": encoding, "chunk_size": [28, 20, 3], "resolution": resolution,
        "voxel_offset": offset,
    }  # fmt: skip
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    if sharded:
        scale["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 1, "minishard_bits": 2, "shard_bits": 1,
            "hash": "identity", "minishard_index_encoding": "gzip", "data_encoding": "gzip",
        }  # fmt: skip
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True,
        "multiscale_metadata": {"type": kind, "data_type": str(array.dtype), "num_channels": len(many)},
        "scale_metadata": scale,
    }  # fmt: skip
    tensorstore.open(spec).result()[...].write(many.T).result()
    return path


def test_voxels_size_and_place(tmp_path: Path) -> None:
    path = precomputed(tmp_path / "pre", offset=(100, 200, 30))
    for name in ("pre", "pre/4_5_50", "pre:/4_5_50"):
        image = open_image(f"{tmp_path}/{name}")
        assert (image.format, image.shape, image.dtype) == ("precomputed", STACK.shape, STACK.dtype)
        assert image.voxel_size_nm == (50.0, 5.0, 4.0)
        assert image.origin_nm == (30 * 50.0, 200 * 5.0, 100 * 4.0)
        np.testing.assert_array_equal(image.read(Box((1, 3, 5), (5, 39, 40))), STACK[1:5, 3:39, 5:40])
        assert image.chunks == (3, 20, 28)
    assert [name for name, _, _ in images_in(path)] == [str(path)]


@pytest.mark.parametrize(
    ("encoding", "dtype", "sharded"),
    [("raw", "uint8", True), ("png", "uint16", False), ("compressed_segmentation", "uint64", False),
     ("compressed_segmentation", "uint32", True), ("raw", "float32", False)],
)  # fmt: skip
def test_encodings(tmp_path: Path, encoding: str, dtype: str, sharded: bool) -> None:
    ids = STACK.astype(dtype) + np.array(2**40 if dtype == "uint64" else 0, dtype)
    kind = "segmentation" if dtype in ("uint64", "uint32") else "image"
    image = open_image(precomputed(tmp_path / "p", ids, encoding=encoding, kind=kind, sharded=sharded))
    np.testing.assert_array_equal(image.read(), ids)
    assert (image.dtype, image.details["encoding"], image.details["content"]) == (np.dtype(dtype), encoding, kind)


def test_jpeg_is_nearly_the_same(tmp_path: Path) -> None:
    flat = np.full((3, 20, 28), 77, np.uint8)
    image = open_image(precomputed(tmp_path / "p", flat, encoding="jpeg"))
    assert np.abs(image.read().astype(int) - 77).max() <= 2


def test_scales_have_names_and_the_first_is_read(tmp_path: Path) -> None:
    path = precomputed(tmp_path / "p")
    precomputed(path, STACK[:, ::2, ::2], resolution=(8, 10, 50))
    assert open_image(path).shape == STACK.shape
    coarse = open_image(f"{path}:/8_10_50")
    np.testing.assert_array_equal(coarse.read(), STACK[:, ::2, ::2])
    assert coarse.voxel_size_nm == (50.0, 10.0, 8.0)
    with pytest.raises(MissingFileError, match=r"no scale '16'.*p:/4_5_50, .*p:/8_10_50"):
        open_image(f"{path}:/16")


def test_channels(tmp_path: Path) -> None:
    many = np.stack([STACK, STACK + 1, STACK + 2])
    path = precomputed(tmp_path / "p", many)
    for channel, image in enumerate(open_channels(path)):
        np.testing.assert_array_equal(image.read(), many[channel])
    np.testing.assert_array_equal(open_image(f"{path}::channel=color").read(), np.moveaxis(many, 0, -1))
    with pytest.raises(FormatError, match="::axes is not for precomputed"):
        open_image(f"{path}::axes=zyx")


def test_no_chunks(tmp_path: Path) -> None:
    path = precomputed(tmp_path / "p", np.zeros_like(STACK))
    for file in (path / "4_5_50").iterdir():
        file.unlink()
    assert any("no chunk is stored" in problem for problem in describe_image("p", open_image(path)).problems)


def pack(path: Path) -> None:
    for file in (path / "4_5_50").iterdir():
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def change(path: Path, *, scale: bool = False, **changes: Any) -> None:
    info = json.loads((path / "info").read_text())
    (info["scales"][0] if scale else info).update(changes)
    (path / "info").write_text(json.dumps(info))


def as_mesh(path: Path) -> None:
    (path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')


def cut_chunk(path: Path) -> None:
    chunk = sorted((path / "4_5_50").iterdir())[0]
    chunk.write_bytes(chunk.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (pack, "packed once more.*gunzip -r"),
        (cut_chunk, "does not decode.*Copy it again"),
        (lambda path: change(path, scales=[]), "lists no scales"),
        (lambda path: change(path, scales=5), "list of scales is damaged"),
        (lambda path: change(path, scale=True, key="a\0b"), "list of scales is damaged"),
        (as_mesh, "is no volume"),
        (lambda path: change(path, data_type="complex"), "metadata are damaged"),
        (lambda path: change(path, scale=True, encoding="compresso"), "encoding 'compresso'.*is not read"),
        (lambda path: change(path, scale=True, encoding="jxl"), "encoding 'jxl'.*is not read"),
        (lambda path: change(path, scale=True, size=[56, 40, 0]), "no voxels"),
        (lambda path: change(path, scale=True, size="big"), "metadata are damaged"),
        (lambda path: (path / "info").write_text('{"scales":'), "not valid JSON"),
    ],
)
def test_what_is_not_read_is_refused(tmp_path: Path, damage: Any, words: str) -> None:
    path = precomputed(tmp_path / "p")
    damage(path)
    with pytest.raises(FormatError, match=words):
        open_image(path).read()


def test_a_folder_of_slices_may_hold_a_file_called_info(tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "slices").mkdir()
    tifffile.imwrite(tmp_path / "slices" / "1.tif", STACK[0])
    (tmp_path / "slices" / "info").write_text('{"microscope": "SEM"}')
    (tmp_path / "slices" / "attributes.json").write_text('{"made": "today"}')
    assert open_image(tmp_path / "slices").shape == (1, 40, 56)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    offset=st.tuples(*[st.integers(-50, 50)] * 3),
    resolution=st.tuples(*[st.integers(1, 99)] * 3),
    encoding=st.sampled_from([("raw", "uint8"), ("raw", "float32"), ("compressed_segmentation", "uint64")]),
)
def test_any_volume_comes_back(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, offset: Any, resolution: Any, encoding: tuple[str, str]
) -> None:
    array = np.random.default_rng(1).integers(0, 100, shape).astype(encoding[1])
    path = tmp_path_factory.mktemp("p") / "p"
    image = open_image(precomputed(path, array, encoding=encoding[0], offset=offset, resolution=resolution))
    np.testing.assert_array_equal(image.read(), array)
    assert image.voxel_size_nm == resolution[::-1]
    assert image.origin_nm == tuple(a * b for a, b in zip(offset[::-1], resolution[::-1], strict=True))
