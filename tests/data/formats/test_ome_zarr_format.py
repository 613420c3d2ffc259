"""OME-Zarr: written as NGFF 0.5, read from 0.1 to 0.5, with every statement of axes and scale."""

import json
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr.writer import write_image as write_with_ome_zarr

from cristae.data.box import Box
from cristae.data.formats import open_channels, open_image
from cristae.data.formats.ome_zarr import (
    ZarrSpec,
    build_pyramid,
    create_multiscale,
    list_labels,
    open_ome_zarr,
    open_writer,
    pyramid_levels,
    read_attributes,
    read_label_classes,
    write_attributes,
)
from cristae.data.formats.paths import Reading
from cristae.errors import FormatError, MissingFileError, OutputExistsError

RNG = np.random.default_rng(11)
SPEC = ZarrSpec((9, 130, 600), np.dtype("uint8"), (2, 32, 64), (4, 64, 128), (40.0, 4.6, 4.6), (1.0, 2.0, 3.0))
CLASSES = ((0, "background", "#000000"), (1, "mitochondria", "#ff8000"), (3, "granule", "#0000ff"))


def fill(path: Path, spec: ZarrSpec = SPEC, **options: Any) -> np.ndarray:
    lead = () if spec.channels is None else (spec.channels,)
    array = RNG.integers(0, 200, (*lead, *spec.shape)).astype(spec.dtype)
    writer = create_multiscale(path, spec, name="cell", **options)
    for box in Box.of_shape(spec.shape).blocks(spec.shards):
        writer.write(box, array[(..., *box.slices)])
    return array


def test_blocks_make_the_whole_for_three_readers(tmp_path: Path) -> None:
    array = fill(tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), array)
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "a.zarr", mode="r")["0"][:], array)
    node = next(iter(Reader(parse_url(tmp_path / "a.zarr"))()))
    np.testing.assert_array_equal(np.asarray(node.data[0]), array)
    assert node.metadata["coordinateTransformations"][0][0]["scale"] == [40.0, 4.6, 4.6]
    assert {axis["unit"] for axis in node.metadata["axes"]} == {"nanometer"}


def test_one_file_for_each_shard(tmp_path: Path) -> None:
    fill(tmp_path / "a.zarr")
    files = [f for f in (tmp_path / "a.zarr" / "0").rglob("*") if f.is_file() and f.name != "zarr.json"]
    assert len(files) == 3 * 3 * 5
    assert zarr.open_group(tmp_path / "a.zarr", mode="r")["0"].chunks == SPEC.chunks


def test_voxel_size_origin_and_spec_are_exact(tmp_path: Path) -> None:
    spec = ZarrSpec((2, 9, 9), np.dtype("float32"), (1, 4, 4), (2, 8, 8), (0.1 + 0.2, 1 / 3, 5.9), (1e-3, -7.7, 1e9))
    create_multiscale(tmp_path / "a.zarr", spec, name="a")
    image = open_image(tmp_path / "a.zarr")
    assert (image.voxel_size_nm, image.origin_nm) == (spec.voxel_size_nm, spec.origin_nm)
    assert open_writer(tmp_path / "a.zarr").spec == spec


def test_the_path_is_taken_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped network drive resolves to a server's name, which tensorstore cannot open."""
    array = fill(tmp_path / "a.zarr")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(open_image("sub/../a.zarr").read(), array)
    monkeypatch.setattr(Path, "resolve", lambda path, strict=False: Path("//server/share") / path.name)
    for path in (tmp_path / "a.zarr", Path("a.zarr")):
        np.testing.assert_array_equal(open_image(path).read(), array)


def test_writing_continues_after_reopening(tmp_path: Path) -> None:
    path, array = tmp_path / "a.zarr", RNG.integers(0, 255, SPEC.shape).astype(np.uint8)
    blocks = list(Box.of_shape(SPEC.shape).blocks(SPEC.shards))
    first = create_multiscale(path, SPEC, name="a")
    for box in blocks[::2]:
        first.write(box, array[box.slices])
    second = open_writer(path)
    threads = [Thread(target=second.write, args=(box, array[box.slices])) for box in blocks[1::2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(open_image(path).read(), array)


@pytest.mark.parametrize(
    "box",
    [
        Box((1, 0, 0), (4, 64, 128)),
        Box((0, 0, 0), (4, 64, 100)),
        Box((0, 0, 0), (0, 64, 128)),
        Box((8, 0, 0), (12, 64, 128)),
    ],
)
def test_boxes_off_the_shard_grid_are_refused(tmp_path: Path, box: Box) -> None:
    writer = create_multiscale(tmp_path / "a.zarr", SPEC, name="a")
    with pytest.raises(ValueError, match="does not follow the shards"):
        writer.write(box, np.zeros(box.shape, np.uint8))


def test_voxels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    writer = create_multiscale(tmp_path / "a.zarr", SPEC, name="a")
    box = Box((0, 0, 0), SPEC.shards)
    for wrong in (np.zeros(SPEC.shards, np.uint16), np.zeros((4, 64, 127), np.uint8)):
        with pytest.raises(ValueError, match="do not fit"):
            writer.write(box, wrong)


def test_channels(tmp_path: Path) -> None:
    spec = ZarrSpec((3, 20, 30), np.dtype("uint8"), (1, 16, 16), (2, 32, 32), (40.0, 4.0, 4.0), channels=5)
    array = fill(tmp_path / "p.zarr", spec)
    for channel in (0, 4):
        image = open_ome_zarr(tmp_path / "p.zarr", reading=Reading(channel=channel))
        np.testing.assert_array_equal(image.read(Box((1, 2, 3), (3, 19, 29))), array[channel, 1:3, 2:19, 3:29])
    assert len(open_channels(tmp_path / "p.zarr")) == 5
    with pytest.raises(FormatError, match="5 channels"):
        open_image(tmp_path / "p.zarr")
    with pytest.raises(FormatError, match="no channel 5"):
        open_image(tmp_path / "p.zarr::channel=5")


def test_labels_are_listed_named_and_found(tmp_path: Path) -> None:
    fill(tmp_path / "cell.zarr", ZarrSpec((3, 20, 30), np.dtype("uint8"), (1, 16, 16), (2, 32, 32), None, channels=2))
    array = fill(tmp_path / "cell.zarr" / "labels" / "segmentation", classes=CLASSES)
    fill(tmp_path / "cell.zarr" / "labels" / "membrane", classes=CLASSES[:2])
    assert list_labels(tmp_path / "cell.zarr") == ("segmentation", "membrane")
    label = open_image(f"{tmp_path}/cell.zarr:/labels/segmentation")
    np.testing.assert_array_equal(label.read(), array)
    assert label.palette == ("#000000", "#ff8000", "#000000", "#0000ff")
    assert label.details["label 1"] == "mitochondria"
    assert read_label_classes(tmp_path / "cell.zarr" / "labels" / "segmentation") == CLASSES
    with pytest.raises(FormatError, match=r"cell\.zarr:/labels/segmentation"):
        open_image(tmp_path / "cell.zarr")
    listed = r"does not exist; .*cell\.zarr:/labels/segmentation, .*cell\.zarr:/labels/membrane$"
    for wrong in ("labels/nucleus", "nucleus", "labels/nucleus/0"):
        with pytest.raises(MissingFileError, match=rf"{wrong}: {listed}"):
            open_image(f"{tmp_path}/cell.zarr:/{wrong}")


def test_ome_zarr_reads_our_label_colours(tmp_path: Path) -> None:
    root = tmp_path / "cell.zarr"
    fill(root)
    fill(root / "labels" / "segmentation", classes=CLASSES)
    nodes = list(Reader(parse_url(root))())
    label = next(node for node in nodes if "color" in node.metadata)
    assert label.metadata["color"][1] == [1.0, 128 / 255, 0.0, 1.0]
    assert label.metadata["color"][0][3] == 0
    assert label.metadata["properties"][3] == {"name": "granule"}


def test_attributes_are_merged(tmp_path: Path) -> None:
    create_multiscale(tmp_path / "a.zarr", SPEC, name="a", attributes={"run": "x"})
    before = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    write_attributes(tmp_path / "a.zarr", {"done": [1, 2]})
    assert read_attributes(tmp_path / "a.zarr") == {"run": "x", "done": [1, 2]}
    assert json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"] == before


def test_existing_images_are_kept(tmp_path: Path) -> None:
    create_multiscale(tmp_path / "a.zarr", SPEC, name="a")
    with pytest.raises(OutputExistsError):
        create_multiscale(tmp_path / "a.zarr", SPEC, name="a")


@pytest.mark.parametrize("change", [{"chunks": (3, 32, 64)}, {"shape": (0, 4, 4)}, {"channels": 0}, {"colors": 3}])
def test_inconsistent_specs_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"chunks|no voxels|channels"):
        create_multiscale(tmp_path / "a.zarr", replace(SPEC, **change), name="a")
    assert not (tmp_path / "a.zarr").exists()


class TestPyramid:
    def test_z_waits_until_its_voxels_are_not_coarser(self) -> None:
        levels = pyramid_levels((64, 4096, 4096), (40.0, 10.0, 10.0))
        assert [level.factor for level in levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8), (4, 16, 16)]
        assert levels[-1].shape == (16, 256, 256)

    def test_isotropic_and_unknown(self) -> None:
        assert [level.factor for level in pyramid_levels((600, 600, 600), (8.0, 8.0, 8.0))][-1] == (4, 4, 4)
        assert [level.factor for level in pyramid_levels((600, 600, 600), None)][-1] == (1, 4, 4)
        assert len(pyramid_levels((600, 256, 200), None)) == 1

    @given(st.tuples(*[st.integers(1, 5000)] * 3), st.none() | st.tuples(*[st.floats(1, 100)] * 3))
    def test_levels_shrink_and_cover(self, shape: tuple[int, int, int], size: Any) -> None:
        levels = pyramid_levels(shape, size)
        assert levels[0].shape == shape
        assert max(levels[-1].shape[1:]) <= 256
        for level in levels:
            covered = zip(shape, level.shape, level.factor, strict=True)
            assert all(0 <= small * factor - n < factor for n, small, factor in covered)

    def test_nearest_takes_the_first_voxel_and_mean_the_average(self, tmp_path: Path) -> None:
        for method in ("nearest", "mean"):
            path = tmp_path / f"{method}.zarr"
            array = fill(path, levels=3)
            build_pyramid(path, method=method)  # type: ignore[arg-type]
            one, two = (open_ome_zarr(path, level).read() for level in ("1", "2"))
            if method == "nearest":
                np.testing.assert_array_equal(one, array[:, ::2, ::2])
                np.testing.assert_array_equal(two, array[:, ::4, ::4])
            else:
                quads = array.reshape(9, 65, 2, 300, 2).astype(float).mean(axis=(2, 4))
                assert np.abs(one - quads).max() <= 0.5

    def test_geometry_of_coarse_levels(self, tmp_path: Path) -> None:
        fill(tmp_path / "a.zarr", levels=2)
        coarse = open_ome_zarr(tmp_path / "a.zarr", "1")
        assert coarse.voxel_size_nm == (40.0, 9.2, 9.2)
        # Its first voxel covers two fine ones: the centre lies half a fine voxel further.
        assert coarse.origin_nm == pytest.approx((1.0, 2.0 + 2.3, 3.0 + 2.3))

    def test_twice_is_the_same(self, tmp_path: Path) -> None:
        fill(tmp_path / "a.zarr", levels=3)

        def content() -> dict[str, bytes]:
            return {str(f): f.read_bytes() for f in sorted(tmp_path.rglob("*")) if f.is_file()}

        build_pyramid(tmp_path / "a.zarr", method="mean")
        before = content()
        build_pyramid(tmp_path / "a.zarr", method="mean")
        assert content() == before


def group(path: Path, array: np.ndarray, ome: dict[str, Any], *, version: int = 2, key: str = "0") -> Path:
    """An image as another program would write it: Zarr 2 with metadata at the top, or Zarr 3 with them under `ome`."""
    root = zarr.create_group(path, zarr_format=version, attributes=ome if version == 2 else {"ome": ome})  # type: ignore[arg-type]
    root.create_array(key, data=array)
    return path


def scales(axes: list[Any], *steps: dict[str, Any], whole: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    item = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": list(steps)}], "version": "0.4"}
    return {"multiscales": [item | ({"coordinateTransformations": whole} if whole else {})], "version": "0.5"}


def space(name: str, unit: str | None = "nanometer") -> dict[str, str]:
    return {"name": name, "type": "space"} | ({"unit": unit} if unit else {})


STACK = RNG.integers(0, 255, (4, 20, 30)).astype(np.uint16)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["zyx", "tczyx", "czyx", "tzyx"])
def test_axes_of_length_one(tmp_path: Path, axes: str, version: int) -> None:
    listed = [space(a) if a in "zyx" else {"name": a, "type": "time" if a == "t" else "channel"} for a in axes]
    lead = [1.0] * (len(axes) - 3)
    array = STACK.reshape((1,) * len(lead) + STACK.shape)
    step = {"type": "scale", "scale": [*lead, 40.0, 4.0, 4.5]}
    image = open_image(group(tmp_path / "a.zarr", array, scales(listed, step), version=version))
    np.testing.assert_array_equal(image.read(Box((1, 2, 3), (4, 19, 28))), STACK[1:4, 2:19, 3:28])
    assert image.voxel_size_nm == (40.0, 4.0, 4.5)


def test_axes_in_another_order(tmp_path: Path) -> None:
    step = {"type": "scale", "scale": [4.5, 40.0, 4.0]}
    listed = [space("x"), space("z"), space("y")]
    image = open_image(group(tmp_path / "a.zarr", STACK.transpose(2, 0, 1), scales(listed, step)))
    np.testing.assert_array_equal(image.read(), STACK)
    assert image.voxel_size_nm == (40.0, 4.0, 4.5)


@pytest.mark.parametrize(
    ("unit", "factor"), [("micrometer", 1000.0), ("angstrom", 0.1), ("nanometer", 1.0), (None, None), ("parsec", None)]
)
def test_units(tmp_path: Path, unit: str | None, factor: float | None) -> None:
    step = {"type": "scale", "scale": [0.04, 0.0046, 0.0046]}
    image = open_image(group(tmp_path / "a.zarr", STACK, scales([space(a, unit) for a in "zyx"], step)))
    expected = None if factor is None else tuple(float(f"{edge * factor:.12g}") for edge in (0.04, 0.0046, 0.0046))
    assert image.voxel_size_nm == expected
    assert ("voxel size" in image.details) == (factor is None)


def test_scale_of_the_whole_multiscale_multiplies(tmp_path: Path) -> None:
    steps = [{"type": "scale", "scale": [10.0, 2.0, 2.0]}, {"type": "translation", "translation": [5.0, 1.0, 0.0]}]
    whole = [{"type": "scale", "scale": [4.0, 2.0, 2.0]}, {"type": "translation", "translation": [100.0, 0.0, 0.0]}]
    image = open_image(group(tmp_path / "a.zarr", STACK, scales([space(a) for a in "zyx"], *steps, whole=whole)))
    assert image.voxel_size_nm == (40.0, 4.0, 4.0)
    assert image.origin_nm == (120.0, 2.0, 0.0)


def test_written_by_ome_zarr_in_both_versions(tmp_path: Path) -> None:
    for fmt in (FormatV04(), FormatV05()):
        path = tmp_path / f"{fmt.version}.zarr"
        size = {"z": 0.04, "y": 0.005, "x": 0.005}
        units = dict.fromkeys("zyx", "micrometer")
        write_with_ome_zarr(STACK, str(path), fmt=fmt, axes="zyx", scale=size, axes_units=units, scale_factors=[])
        image = open_image(path)
        np.testing.assert_array_equal(image.read(), STACK)
        assert image.details["OME-Zarr"] == fmt.version
        assert image.voxel_size_nm == (40.0, 5.0, 5.0)


def test_plain_arrays(tmp_path: Path) -> None:
    for version in (2, 3):
        zarr.create_array(tmp_path / f"{version}.zarr", data=STACK, zarr_format=version)  # type: ignore[arg-type]
        image = open_image(tmp_path / f"{version}.zarr")
        np.testing.assert_array_equal(image.read(), STACK)
        assert image.voxel_size_nm is None
    zarr.create_array(tmp_path / "n.zarr", data=STACK.T, dimension_names=["x", "y", "z"])
    np.testing.assert_array_equal(open_image(tmp_path / "n.zarr").read(), STACK)
    zarr.create_array(tmp_path / "mask.zarr", data=STACK > 100)
    mask = open_image(tmp_path / "mask.zarr")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask.read(), (STACK > 100).astype(np.uint8))


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ("czyx", (2, 3, 8, 8), "2 channels"),
        ("tzyx", (2, 3, 8, 8), "2 time points"),
        ("qzyx", (2, 3, 8, 8), "an axis 'q' of 2"),
    ],
)
def test_more_than_one_volume(tmp_path: Path, axes: str, shape: tuple[int, ...], words: str) -> None:
    path = group(tmp_path / "a.zarr", np.ones(shape, np.uint8), scales([space(a) for a in axes]))
    with pytest.raises(FormatError, match=words):
        open_image(path)


def test_groups_with_several_arrays_list_them(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "a.zarr")
    root.create_array("raw", data=STACK)
    assert open_image(tmp_path / "a.zarr").shape == STACK.shape
    root.create_array("volumes/ids", data=STACK)
    with pytest.raises(FormatError, match=r"a\.zarr:/raw, .*a\.zarr:/volumes/ids"):
        open_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.zarr:/volumes/ids").read(), STACK)


def damage_json(path: Path) -> None:
    (path / "zarr.json").write_text((path / "zarr.json").read_text()[:-30])


def damage_shard(path: Path) -> None:
    shard = path / "0" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-7])


def flip_shard(path: Path) -> None:
    shard = path / "0" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[10:40] = bytes(30)
    shard.write_bytes(content)


def edit(path: Path, name: str, **changes: Any) -> None:
    file = path / name / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_json, "not valid JSON"),
        (damage_shard, "does not decode"),
        (flip_shard, "does not decode"),
        (lambda path: (path / "0" / "zarr.json").unlink(), "incomplete"),
        (lambda path: (path / "0" / "zarr.json").write_text("[]"), "JSON object"),
        (lambda path: edit(path, "0", shape=[9, 130]), "do not fit|cannot be opened"),
        (lambda path: edit(path, "0", data_type="object"), "cannot be opened"),
        (lambda path: edit(path, "0", codecs=[{"name": "mystery"}]), "cannot be opened"),
        (lambda path: edit(path, "0", shape=[0, 130, 600]), "no voxels"),
        (lambda path: edit(path, ".", node_type="banana"), "node_type"),
        (lambda path: edit(path, ".", attributes={"ome": {"multiscales": 5}}), "damaged"),
        (
            lambda path: edit(path, ".", attributes={"ome": {"multiscales": [{"axes": "zyx", "datasets": []}]}}),
            "no arrays",
        ),
    ],
)
def test_damage_is_reported(tmp_path: Path, damage: Any, words: str) -> None:
    fill(tmp_path / "a.zarr")
    damage(tmp_path / "a.zarr")
    with pytest.raises(FormatError, match=words):
        open_image(tmp_path / "a.zarr").read()


def test_chunks_too_large_to_decode(tmp_path: Path) -> None:
    fill(tmp_path / "a.zarr")
    metadata = json.loads((tmp_path / "a.zarr" / "0" / "zarr.json").read_text())
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**4, 10**4, 10**4]}}
    codecs = metadata["codecs"][0]["configuration"]["codecs"]
    edit(tmp_path / "a.zarr", "0", chunk_grid=grid, codecs=codecs)
    with pytest.raises(FormatError, match="931 GiB"):
        open_image(tmp_path / "a.zarr")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    metadata = {"zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "dtype": "|O", "fill_value": None, "order": "C",
                "compressor": None, "filters": [{"id": "pickle", "protocol": 5}]}  # fmt: skip
    (tmp_path / "a.zarr" / ".zarray").write_text(json.dumps(metadata))
    (tmp_path / "a.zarr" / "0.0").write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")
    with pytest.raises(FormatError, match="cannot be opened"):
        open_image(tmp_path / "a.zarr").read()


def test_missing_inner_array(tmp_path: Path) -> None:
    fill(tmp_path / "a.zarr")
    with pytest.raises(MissingFileError, match="labels/nothing"):
        open_image(f"{tmp_path}/a.zarr:/labels/nothing")
