"""Zarr hierarchies of other programs: old OME-Zarr, Bio-Formats, plates, COSEM, funlib, WEBKNOSSOS, xarray."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from cristae.data.formats import open_channels, open_image
from cristae.data.inspection import images_in
from cristae.data.label_sources import is_slice_files
from cristae.errors import FormatError, MissingFileError

STACK = np.random.default_rng(9).integers(0, 250, (4, 20, 30)).astype(np.uint8)
SIZE = (40.0, 4.0, 5.0)
AXES = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
LEVEL = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [40, 4, 5]}]}


def group(path: Path, version: int = 2, **attributes: Any) -> zarr.Group:
    return zarr.create_group(path, zarr_format=version, attributes=attributes)  # type: ignore[arg-type]


def array(path: Path, data: np.ndarray = STACK, *, version: int = 2, attributes: Any = None, **options: Any) -> Path:
    zarr.create_array(path, data=data, zarr_format=version, attributes=attributes, **options)  # type: ignore[arg-type]
    return path


def names(path: Path | str) -> list[str]:
    return [name for name, _, _ in images_in(path)]


class TestOldVersions:
    @pytest.mark.parametrize("version", ["0.1", "0.2"])
    def test_without_axes_they_are_tczyx(self, tmp_path: Path, version: str) -> None:
        omero = {"channels": [{"label": "SE"}, {"label": "BSE"}]}
        group(tmp_path / "a.zarr", multiscales=[{"version": version, "datasets": [{"path": "0"}]}], omero=omero)
        many = np.stack([STACK, STACK + 1])[None]
        array(tmp_path / "a.zarr" / "0", many)
        for channel, image in enumerate(open_channels(tmp_path / "a.zarr")):
            np.testing.assert_array_equal(image.read(), many[0, channel])
            assert image.details["channel"] == ("0 'SE'", "1 'BSE'")[channel]
            assert image.voxel_size_nm is None

    def test_of_other_axes_the_person_says_which(self, tmp_path: Path) -> None:
        group(tmp_path / "a.zarr", multiscales=[{"version": "0.1", "datasets": [{"path": "0"}]}])
        array(tmp_path / "a.zarr" / "0", STACK[None])
        with pytest.raises(FormatError, match=r"name no axes of an array of 4 axes.*::axes=czyx"):
            open_image(tmp_path / "a.zarr")
        np.testing.assert_array_equal(open_image(f"{tmp_path}/a.zarr::axes=czyx").read(), STACK)

    @pytest.mark.parametrize(("axes", "shape"), [("yx", (20, 30)), ("tyx", (1, 20, 30)), ("czyx", (1, 4, 20, 30))])
    def test_axes_by_name_alone(self, tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
        group(tmp_path / "a.zarr", multiscales=[{"version": "0.3", "axes": [*axes], "datasets": [{"path": "0"}]}])
        data = STACK.reshape(shape) if "z" in axes else STACK[0].reshape(shape)
        array(tmp_path / "a.zarr" / "0", data)
        image = open_image(tmp_path / "a.zarr")
        np.testing.assert_array_equal(image.read(), data.reshape(image.shape))
        assert "no scale" in image.details["voxel size"]

    def test_attributes_need_no_group_file(self, tmp_path: Path) -> None:
        group(tmp_path / "a.zarr", multiscales=[{"version": "0.4", "axes": AXES, "datasets": [LEVEL]}])
        array(tmp_path / "a.zarr" / "0", chunk_key_encoding={"name": "v2", "separator": "/"})
        (tmp_path / "a.zarr" / ".zgroup").unlink()
        assert open_image(tmp_path / "a.zarr").voxel_size_nm == SIZE

    @pytest.mark.parametrize(
        ("units", "size"),
        [(("micrometer", "nanometer", "nanometer"), (40000.0, 4.0, 5.0)), ((None, "nanometer", "nanometer"), None),
         (("", "nm", "nm"), None), (("nm", "nm", "pixel"), None)],
    )  # fmt: skip
    def test_units_of_each_axis(self, tmp_path: Path, units: tuple[Any, ...], size: Any) -> None:
        axes = [{"name": name, "type": "space", "unit": unit} for name, unit in zip("zyx", units, strict=True)]
        group(tmp_path / "a.zarr", multiscales=[{"version": "0.4", "axes": axes, "datasets": [LEVEL]}])
        array(tmp_path / "a.zarr" / "0")
        assert open_image(tmp_path / "a.zarr").voxel_size_nm == size

    def test_a_person_renames_axes_and_sizes_follow(self, tmp_path: Path) -> None:
        axes = [{**axis, "name": name} for axis, name in zip(AXES, "abc", strict=True)]
        group(tmp_path / "a.zarr", multiscales=[{"version": "0.4", "axes": axes, "datasets": [LEVEL]}])
        array(tmp_path / "a.zarr" / "0")
        with pytest.raises(FormatError, match="::axes=zyx"):
            open_image(tmp_path / "a.zarr")
        image = open_image(f"{tmp_path}/a.zarr::axes=xyz")
        np.testing.assert_array_equal(image.read(), STACK.T)
        assert image.voxel_size_nm == SIZE[::-1]


def test_paths_of_levels_may_begin_with_a_slash(tmp_path: Path) -> None:
    levels = [7, {**LEVEL, "path": "/0"}]
    group(tmp_path / "a.zarr", multiscales=[{"version": "0.4", "axes": AXES, "datasets": levels}])
    array(tmp_path / "a.zarr" / "0")
    assert open_image(tmp_path / "a.zarr").voxel_size_nm == SIZE
    assert open_image(f"{tmp_path}/a.zarr:/0").voxel_size_nm == SIZE


@pytest.mark.parametrize("version", [2, 3])
def test_consolidated_metadata_alone(tmp_path: Path, version: int) -> None:
    root = group(tmp_path / "a.zarr", version)
    root.create_array("volumes/raw", data=STACK, attributes={"resolution": [40, 4, 5]})
    zarr.consolidate_metadata(root.store, zarr_format=version)  # type: ignore[arg-type]
    for name in (".zarray", ".zattrs", ".zgroup", "zarr.json"):
        for file in (tmp_path / "a.zarr").rglob(name):
            if version == 2 or file.parent != tmp_path / "a.zarr":
                file.unlink()
    for path in ("a.zarr", "a.zarr:/volumes/raw", "a.zarr/volumes/raw", "a.zarr/volumes"):
        image = open_image(f"{tmp_path}/{path}")
        np.testing.assert_array_equal(image.read(), STACK)
        assert image.voxel_size_nm == SIZE


def test_groups_of_version_2_need_no_metadata(tmp_path: Path) -> None:
    group(tmp_path / "a.zarr")
    array(tmp_path / "a.zarr" / "volumes" / "deep" / "raw")
    for folder in ("volumes", "volumes/deep"):
        (tmp_path / "a.zarr" / folder / ".zgroup").unlink(missing_ok=True)
    for path in ("a.zarr", "a.zarr/volumes", "a.zarr:/volumes/deep"):
        np.testing.assert_array_equal(open_image(f"{tmp_path}/{path}").read(), STACK)


def test_bio_formats_with_several_series(tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    group(root, **{"bioformats2raw.layout": 3})
    (root / "OME").mkdir()
    (root / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    for series in ("0", "1"):
        group(root / series, multiscales=[{"version": "0.4", "axes": AXES, "datasets": [LEVEL]}])
        array(root / series / "0")
        if series == "0":
            assert open_image(root).voxel_size_nm == SIZE
    with pytest.raises(FormatError, match=r"several arrays; name one of them: .*a\.zarr:/0, .*a\.zarr:/1"):
        open_image(root)
    assert names(root) == [f"{root}:/0", f"{root}:/1"]


def test_several_multiscales_of_one_group(tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    scales = [{"version": "0.4", "axes": AXES, "datasets": [{**LEVEL, "path": name}]} for name in ("raw", "sharp")]
    group(root, multiscales=scales)
    array(root / "raw")
    array(root / "sharp", STACK + 1)
    with pytest.raises(FormatError, match=r"2 multiscales; name one of their arrays: .*:/raw, .*:/sharp"):
        open_image(root)
    image = open_image(f"{root}:/sharp")
    np.testing.assert_array_equal(image.read(), STACK + 1)
    assert image.voxel_size_nm == SIZE
    assert names(root) == [f"{root}:/raw", f"{root}:/sharp"]


@pytest.mark.parametrize("version", [2, 3])
def test_plates_and_wells_hold_many_images(tmp_path: Path, version: int) -> None:
    root = tmp_path / "a.zarr"

    def said(**attributes: Any) -> dict[str, Any]:
        return attributes if version == 2 else {"ome": attributes}

    group(root, version, **said(plate={"wells": [{"path": "A/1"}]}))
    group(root / "A" / "1", version, **said(well={"images": [{"path": "0"}]}))
    scale = {"version": "0.4", "axes": AXES, "datasets": [LEVEL]}
    group(root / "A" / "1" / "0", version, **said(multiscales=[scale]))
    array(root / "A" / "1" / "0" / "0", version=version)
    with pytest.raises(FormatError, match=r"is a plate .*name one field, for instance .*a\.zarr:/A/1/0$"):
        open_image(root)
    with pytest.raises(FormatError, match="is a plate"):
        names(root)
    with pytest.raises(FormatError, match="is a well"):
        open_image(f"{root}:/A/1")
    assert open_image(f"{root}:/A/1/0").voxel_size_nm == SIZE


def test_labels_alone(tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    group(root / "labels", labels=["cells", "nuclei"])
    for name in ("cells", "nuclei"):
        label = {
            "version": "0.4",
            "colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}],
            "source": {"image": "../../"},
        }
        scale = {"version": "0.4", "axes": AXES, "datasets": [LEVEL]}
        attributes: dict[str, Any] = {"multiscales": [scale], "image-label": label}
        group(root / "labels" / name, **attributes)
        array(root / "labels" / name / "0")
    assert names(root / "labels") == [f"{root}/labels:/cells", f"{root}/labels:/nuclei"]
    assert open_image(f"{root}:/labels/cells").palette == ("#000000", "#ff0000")


class TestConnectomics:
    @pytest.mark.parametrize(
        "attributes",
        [
            {
                "voxel_size": [40, 4, 5],
                "offset": [80, 0, 0],
                "units": ["nm", "nm", "nm"],
                "axis_names": ["z", "y", "x"],
            },
            {"resolution": [40, 4, 5], "offset": [80, 0, 0]},
            {"transform": {"axes": ["z", "y", "x"], "scale": [40, 4, 5], "translate": [80, 0, 0], "units": ["nm"] * 3}},
        ],
    )
    @pytest.mark.parametrize("version", [2, 3])
    @pytest.mark.parametrize("on_group", [False, True])
    def test_on_the_array_or_its_group(self, tmp_path: Path, attributes: Any, version: int, on_group: bool) -> None:
        group(tmp_path / "a.zarr", version)
        group(tmp_path / "a.zarr" / "raw", version, **(attributes if on_group else {}))
        array(tmp_path / "a.zarr" / "raw" / "s0", version=version, attributes=None if on_group else attributes)
        array(tmp_path / "a.zarr" / "raw" / "s1", STACK[:, ::2, ::2], version=version)
        image = open_image(f"{tmp_path}/a.zarr:/raw")
        assert (image.voxel_size_nm, image.origin_nm) == (SIZE, (80.0, 0.0, 0.0))
        np.testing.assert_array_equal(image.read(), STACK)
        coarse = open_image(f"{tmp_path}/a.zarr:/raw/s1")
        assert coarse.voxel_size_nm is None
        assert coarse.shape == (4, 10, 15)
        assert names(f"{tmp_path}/a.zarr:/raw") == [f"{tmp_path}/a.zarr:/raw"]

    def test_levels_of_cosem(self, tmp_path: Path) -> None:
        levels = [
            {"path": f"s{i}", "transform": {"axes": ["z", "y", "x"], "scale": [40 * f, 4 * f, 5 * f],
                                            "translate": [0, 0, 0], "units": ["nm"] * 3}}
            for i, f in enumerate((1, 2))
        ]  # fmt: skip
        group(tmp_path / "a.zarr", multiscales=[{"name": "em", "datasets": levels}])
        for name in ("s0", "s1"):
            array(tmp_path / "a.zarr" / name)
        assert open_image(tmp_path / "a.zarr").voxel_size_nm == SIZE
        assert open_image(f"{tmp_path}/a.zarr:/s1").voxel_size_nm == (80.0, 8.0, 10.0)

    def test_axes_of_xarray(self, tmp_path: Path) -> None:
        attributes = {"_ARRAY_DIMENSIONS": ["x", "y", "z"], "resolution": [5, 4, 40]}
        image = open_image(array(tmp_path / "a.zarr", STACK.T, attributes=attributes))
        np.testing.assert_array_equal(image.read(), STACK)
        assert image.voxel_size_nm == SIZE


@pytest.mark.parametrize(
    ("scale", "size"),
    [([5, 4, 40], SIZE), ({"factor": [5, 4, 40], "unit": "nanometer"}, SIZE),
     ({"factor": [0.005, 0.004, 0.04], "unit": "micrometer"}, SIZE),
     ({"factor": [5, 4, 40], "unit": "pixel"}, None), ("small", None), (None, None)],
)  # fmt: skip
def test_webknossos(tmp_path: Path, scale: Any, size: Any) -> None:
    root = tmp_path / "dataset"
    array(root / "color" / "1", STACK.T[None], version=3, dimension_names=["c", "x", "y", "z"])
    array(root / "color" / "2-2-1", STACK.T[None, ::2, ::2], version=3, dimension_names=["c", "x", "y", "z"])
    (root / "datasource-properties.json").write_text(json.dumps({"id": {}, "dataLayers": [], "scale": scale}))
    image = open_image(root / "color" / "1")
    np.testing.assert_array_equal(image.read(), STACK)
    assert image.voxel_size_nm == size
    assert open_image(root / "color" / "2-2-1").voxel_size_nm == (size and (40.0, 8.0, 10.0))


def test_symbolic_links_lead_to_arrays(tmp_path: Path) -> None:
    group(tmp_path / "real" / "a.zarr", multiscales=[{"version": "0.4", "axes": AXES, "datasets": [LEVEL]}])
    array(tmp_path / "real" / "a.zarr" / "0")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a.zarr")
    for path in ("link", "link/0", "link:/0"):
        image = open_image(f"{tmp_path}/{path}")
        np.testing.assert_array_equal(image.read(), STACK)
        assert image.voxel_size_nm == SIZE
    with pytest.raises(MissingFileError):
        open_image(f"{tmp_path}/link:/1")


def test_array_folders_are_no_folders_of_slices(tmp_path: Path) -> None:
    array(tmp_path / "a.zarr")
    (tmp_path / "v.n5").mkdir()
    (tmp_path / "v.n5" / "attributes.json").write_text('{"n5": "2.0.0"}')
    (tmp_path / "pre").mkdir()
    (tmp_path / "pre" / "info").write_text('{"scales": []}')
    (tmp_path / "slices").mkdir()
    assert not any(is_slice_files(tmp_path / name) for name in ("a.zarr", "v.n5", "pre"))
    assert is_slice_files(tmp_path / "slices")


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.ozx"])
def test_archives_are_to_be_unpacked(tmp_path: Path, name: str) -> None:
    import zipfile

    array(tmp_path / "a.zarr")
    with zipfile.ZipFile(tmp_path / name, "w") as packed:
        packed.write(tmp_path / "a.zarr" / ".zarray", ".zarray")
    for path in (name, f"{name}:/0"):
        with pytest.raises(FormatError, match=r"is an archive.*unpack it"):
            open_image(tmp_path / path)


def test_links_may_lead_round_in_a_circle(tmp_path: Path) -> None:
    group(tmp_path / "a.zarr")
    array(tmp_path / "a.zarr" / "raw")
    for folder in ("a.zarr", "a.zarr/raw"):
        (tmp_path / folder / "loop").symlink_to(tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), STACK)
