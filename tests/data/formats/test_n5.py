"""N5 containers: written by tensorstore and by hand, with the metadata that Paintera, BigDataViewer and COSEM write."""

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
from cristae.data.formats.n5 import list_n5
from cristae.data.inspection import describe_image, images_in
from cristae.errors import ChannelError, FormatError, MissingFileError

STACK = np.random.default_rng(3).integers(0, 255, (6, 40, 56)).astype(np.uint16)


def n5(
    path: Path,
    array: np.ndarray = STACK,
    *,
    compression: str = "gzip",
    block: tuple[int, ...] = (28, 20, 3),
    **attributes: Any,
) -> Path:
    """An array (..., Z, Y, X) as N5, whose axes are the other way round; the folder above becomes the container."""
    details = {"cname": "lz4", "clevel": 3, "shuffle": 1} if compression == "blosc" else {}
    metadata = {
        "dimensions": array.shape[::-1],
        "blockSize": [*block, *([1] * (array.ndim - 3))][: array.ndim],
        "dataType": str(array.dtype),
        "compression": {"type": compression, **details},
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata, "create": True}
    tensorstore.open(spec).result()[...].write(array.T).result()
    file = path / "attributes.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | attributes))
    return path


def group(path: Path, **attributes: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "attributes.json").write_text(json.dumps(attributes))
    return path


def container(path: Path) -> Path:
    return group(path, n5="2.5.1")


@pytest.mark.parametrize("compression", ["raw", "gzip", "bzip2", "xz", "blosc", "zstd"])
def test_every_name_of_an_array(tmp_path: Path, compression: str) -> None:
    n5(container(tmp_path / "v.n5") / "raw" / "s0", compression=compression)
    for path in ("v.n5", "v.n5/raw", "v.n5/raw/s0", "v.n5:/raw", "v.n5:/raw/s0"):
        image = open_image(f"{tmp_path}/{path}")
        assert (image.format, image.shape, image.dtype) == ("n5", STACK.shape, STACK.dtype)
        np.testing.assert_array_equal(image.read(Box((1, 3, 5), (5, 39, 40))), STACK[1:5, 3:39, 5:40])
        assert image.chunks == (3, 20, 28)
        assert str(image.path) == f"{tmp_path}/{path}"


def test_groups_need_no_metadata_and_the_container_no_name(tmp_path: Path) -> None:
    n5(container(tmp_path / "volumes") / "a" / "b" / "raw")
    for path in ("volumes", "volumes/a", "volumes:/a/b", "volumes/a/b/raw"):
        np.testing.assert_array_equal(open_image(f"{tmp_path}/{path}").read(), STACK)


def test_several_arrays_are_listed(tmp_path: Path) -> None:
    root = container(tmp_path / "v.n5")
    for level in ("s0", "s1", "s2"):
        n5(root / "volumes" / "raw" / level)
    n5(root / "volumes" / "ids", STACK.astype(np.uint64))
    n5(root / "table", np.arange(5, dtype=np.uint64), block=(5,))
    assert list_n5(root) == ("volumes/ids", "volumes/raw")
    with pytest.raises(FormatError, match=r"2 arrays; name one of them: .*v\.n5:/volumes/ids, .*v\.n5:/volumes/raw"):
        open_image(root)
    with pytest.raises(MissingFileError, match=r"volumes/nothing: does not exist.*v\.n5:/volumes/ids"):
        open_image(f"{root}:/volumes/nothing")
    assert [name for name, _, _ in images_in(root)] == [f"{root}:/volumes/ids", f"{root}:/volumes/raw"]
    assert [name for name, _, _ in images_in(f"{root}:/volumes")] == [f"{root}:/volumes/ids", f"{root}:/volumes/raw"]


def test_an_array_without_blocks_is_said_to_have_none(tmp_path: Path) -> None:
    group(container(tmp_path / "v.n5") / "raw", dimensions=[56, 40, 6], blockSize=[56, 40, 6], dataType="uint8",
          compression={"type": "raw"})  # fmt: skip
    image = open_image(tmp_path / "v.n5")
    assert not image.read().any()
    assert any("no chunk is stored" in problem for problem in describe_image("v", image).problems)
    assert "note" not in open_image(n5(tmp_path / "w.n5" / "raw")).details


SIZES = [
    ({"pixelResolution": {"dimensions": [4.0, 5.0, 40.0], "unit": "nm"}}, (40.0, 5.0, 4.0), None),
    ({"pixelResolution": {"dimensions": [0.004, 0.005, 0.04], "unit": "um"}}, (40.0, 5.0, 4.0), None),
    ({"pixelResolution": [0.004, 0.005, 0.04]}, (40.0, 5.0, 4.0), None),
    ({"resolution": [4, 5, 40], "offset": [8, 0, 80]}, (40.0, 5.0, 4.0), (80.0, 0.0, 8.0)),
    ({"resolution": [4, 5, 40], "units": ["nm", "nm", "nm"], "axes": ["x", "y", "z"]}, (40.0, 5.0, 4.0), None),
    ({"resolution": [4, 5, 40], "units": "nm"}, (40.0, 5.0, 4.0), None),
    ({"transform": {"axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [1, 2, 3], "units": ["nm"] * 3}},
     (40.0, 5.0, 4.0), (1.0, 2.0, 3.0)),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "size", "origin"), SIZES)
@pytest.mark.parametrize("on_group", [False, True])
def test_voxel_sizes_of_the_array_or_its_group(
    tmp_path: Path, attributes: dict[str, Any], size: Any, origin: Any, on_group: bool
) -> None:
    root = container(tmp_path / "v.n5")
    n5(root / "raw" / "s0", **({} if on_group else attributes))
    if on_group:
        group(root / "raw", **{key: value for key, value in attributes.items() if key != "axes"})
    image = open_image(root)
    assert (image.voxel_size_nm, image.origin_nm) == (size, origin)
    np.testing.assert_array_equal(image.read(), STACK)


def test_a_coarser_level_of_a_group(tmp_path: Path) -> None:
    root = container(tmp_path / "v.n5")
    group(root / "raw" / "data", multiScale=True, resolution=[4, 4, 40], offset=[0, 0, 400])
    for level, factors in (("s0", None), ("s1", [2, 2, 1]), ("s2", None)):
        stated: dict[str, Any] = {"downsamplingFactors": factors} if factors else {}
        n5(root / "raw" / "data" / level, **stated)
    assert open_image(f"{root}:/raw/data").voxel_size_nm == (40.0, 4.0, 4.0)
    coarse = open_image(f"{root}:/raw/data/s1")
    assert (coarse.voxel_size_nm, coarse.origin_nm) == ((40.0, 8.0, 8.0), (400.0, 2.0, 2.0))
    unknown = open_image(f"{root}:/raw/data/s2")
    assert unknown.voxel_size_nm is None
    assert "not by how much 's2' is coarser" in unknown.details["voxel size"]


def test_levels_of_n5_viewer_multiply(tmp_path: Path) -> None:
    root = container(tmp_path / "v.n5")
    n5(root / "c0" / "s0", pixelResolution={"dimensions": [4, 4, 40], "unit": "nm"}, downsamplingFactors=[1, 1, 1])
    n5(root / "c0" / "s1", pixelResolution={"dimensions": [4, 4, 40], "unit": "nm"}, downsamplingFactors=[2, 2, 1])
    assert open_image(root).voxel_size_nm == (40.0, 4.0, 4.0)
    assert open_image(f"{root}:/c0/s1").voxel_size_nm == (40.0, 8.0, 8.0)


def test_a_resolution_of_an_unknown_level(tmp_path: Path) -> None:
    n5(container(tmp_path / "v.n5") / "raw" / "s1", resolution=[8, 8, 40], downsamplingFactors=[2, 2, 1])
    image = open_image(tmp_path / "v.n5")
    assert image.voxel_size_nm is None
    assert "not of which level" in image.details["voxel size"]


def test_levels_of_cosem(tmp_path: Path) -> None:
    def level(scale: float) -> dict[str, Any]:
        size = [3.24 * scale, 4 * scale, 4 * scale]
        return {"axes": ["z", "y", "x"], "scale": size, "translate": [0, 0, 0], "units": ["nm"] * 3}

    root = container(tmp_path / "v.n5")
    datasets = [{"path": "s0", "transform": level(1)}, {"path": "s1", "transform": level(2)}]
    group(root / "em" / "fibsem", multiscales=[{"datasets": datasets, "name": "fibsem"}])
    for name in ("s0", "s1"):
        n5(root / "em" / "fibsem" / name)
    assert open_image(root).voxel_size_nm == (3.24, 4.0, 4.0)
    assert open_image(f"{root}:/em/fibsem/s1").voxel_size_nm == (6.48, 8.0, 8.0)


def test_bigdataviewer_keeps_its_unit_elsewhere(tmp_path: Path) -> None:
    root = container(tmp_path / "dataset.n5")
    group(root / "setup0", downsamplingFactors=[[1, 1, 1], [2, 2, 1]], dataType="uint16")
    group(root / "setup0" / "timepoint0", multiScale=True, resolution=[0.1, 0.1, 0.5])
    n5(root / "setup0" / "timepoint0" / "s0")
    n5(root / "setup0" / "timepoint0" / "s1", downsamplingFactors=[2, 2, 1])
    image = open_image(root)
    assert image.voxel_size_nm is None
    assert "XML file" in image.details["voxel size"]
    np.testing.assert_array_equal(open_image(f"{root}/setup0/timepoint0/s0").read(), STACK)


def test_channels_and_other_orders(tmp_path: Path) -> None:
    many = np.stack([STACK, STACK + 1])
    n5(container(tmp_path / "c.n5") / "raw", many, axes=["x", "y", "z", "c"])
    for channel, image in enumerate(open_channels(tmp_path / "c.n5")):
        np.testing.assert_array_equal(image.read(), many[channel])
    n5(container(tmp_path / "d.n5") / "raw", many)
    with pytest.raises(FormatError, match=r"4 axes \(56, 40, 6, 2\).*::axes=xyzc"):
        open_image(tmp_path / "d.n5")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/d.n5::axes=xyzc::channel=1").read(), many[1])
    n5(container(tmp_path / "e.n5") / "raw", STACK, axes=["z", "y", "x"], resolution=[4, 4, 40])
    np.testing.assert_array_equal(open_image(tmp_path / "e.n5").read(), STACK.T)
    n5(container(tmp_path / "f.n5") / "raw", STACK[0], block=(28, 20))
    np.testing.assert_array_equal(open_image(tmp_path / "f.n5").read(), STACK[:1])
    with pytest.raises(ChannelError, match="no channel 2"):
        open_image(f"{tmp_path}/c.n5::channel=2")


def test_a_container_of_the_first_version(tmp_path: Path) -> None:
    path = n5(container(tmp_path / "v.n5") / "raw")
    stated = json.loads((path / "attributes.json").read_text())
    del stated["compression"]
    (path / "attributes.json").write_text(json.dumps(stated | {"compressionType": "gzip"}))
    np.testing.assert_array_equal(open_image(path).read(), STACK)


def edit(path: Path, **changes: Any) -> None:
    file = path / "attributes.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_block(path: Path) -> None:
    block = path / "0" / "0" / "0"
    block.write_bytes(block.read_bytes()[:-9])


def varlength(path: Path) -> None:
    block = path / "0" / "0" / "0"
    block.write_bytes(b"\x00\x01" + block.read_bytes()[2:])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: edit(path, compression={"type": "lz4", "blockSize": 65536}), "compressed by 'lz4' are not read"),
        (lambda path: edit(path, compression={"type": "jpeg"}), "compressed by 'jpeg' are not read"),
        (lambda path: edit(path, dataType="object"), "holds 'object' values"),
        (lambda path: edit(path, dataType="string"), "holds 'string' values"),
        (lambda path: edit(path, isLabelMultiset=True), "label multisets.*uint64"),
        (lambda path: edit(path.parent, isLabelMultiset=True), "label multisets.*uint64"),
        (lambda path: edit(path, dimensions=[56, 40, 0]), "no voxels"),
        (lambda path: edit(path, dimensions="big"), "do not fit|damaged"),
        (lambda path: edit(path, blockSize=[28, 20]), "damaged"),
        (lambda path: edit(path, blockSize=[10**4] * 3), "GiB each|2GB"),
        (lambda path: (path / "attributes.json").write_text("{"), "not valid JSON"),
        (lambda path: (path / "attributes.json").write_text("[]"), "JSON object"),
        (cut_block, "does not decode.*Copy it again"),
        (varlength, "does not decode.*Copy it again"),
    ],
)
@pytest.mark.parametrize("compression", ["raw", "gzip"])
def test_what_is_not_read_is_refused(tmp_path: Path, damage: Any, words: str, compression: str) -> None:
    path = n5(container(tmp_path / "v.n5") / "raw", compression=compression)
    damage(path)
    with pytest.raises(FormatError, match=words):
        open_image(path).read()


def test_tables_of_paintera_are_no_images(tmp_path: Path) -> None:
    root = container(tmp_path / "v.n5")
    group(root / "ids", painteraData={"type": "label"}, maxId=9)
    n5(root / "ids" / "data" / "s0", STACK.astype(np.uint64))
    n5(root / "ids" / "unique-labels" / "s0", np.ones((2, 2, 2), np.uint64))
    n5(root / "ids" / "label-to-block-mapping" / "s0", np.ones((2, 2), np.uint64), block=(2, 2))
    assert list_n5(root) == ("ids/data",)
    assert open_image(root).dtype == np.uint64


TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    block=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from(TYPES),
    compression=st.sampled_from(["raw", "gzip", "bzip2", "xz", "blosc", "zstd"]),
)
def test_any_array_comes_back(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, block: Any, dtype: str, compression: str
) -> None:
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    path = n5(container(tmp_path_factory.mktemp("n5") / "v.n5") / "raw", array, block=block, compression=compression)
    image = open_image(path)
    assert image.dtype == array.dtype
    np.testing.assert_array_equal(image.read(), array)
