"""Volumes at addresses: the same voxels and metadata as from a folder, and words for what a server refuses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from object_store import KEY, ObjectStore, store_without_keys

from cristae import inspect, open_volume
from cristae.data.address import Address, place_of
from cristae.data.box import Box
from cristae.data.formats import open_image, write_image
from cristae.data.formats.levels import level_path
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, FormatError, MissingFileError

VOXELS = np.random.default_rng(3).integers(0, 256, (9, 70, 90), np.uint8)
SIZE = (40.0, 8.0, 8.0)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    with store_without_keys(monkeypatch, tmp_path) as found:
        yield found


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A sharded OME-Zarr 0.5 on disk."""
    path = tmp_path / "cell.zarr"
    write_image(image_of_array(VOXELS, voxel_size_nm=SIZE), path)
    return path


def test_an_address_answers_like_a_path() -> None:
    place = place_of("s3://lab/a/b.ome.zarr/")
    assert isinstance(place, Address)
    as_path = Path("/lab/a/b.ome.zarr")
    assert (place.name, place.stem, place.suffix) == (as_path.name, as_path.stem, as_path.suffix)
    assert [str(one) for one in place.parents] == ["s3://lab/a", "s3://lab"]
    assert str(place / "labels" / "x/") == "s3://lab/a/b.ome.zarr/labels/x"


@pytest.mark.parametrize("text", ["s3://lab/a.zarr", "gs://lab/a.zarr", "https://host:8080/x/a.zarr"])
def test_an_address_survives_paths_and_the_folders_of_recipes(text: str) -> None:
    assert str(place_of(text)) == str(place_of(Path(text))) == str(place_of(Path("recipes") / text)) == text


def test_a_path_stays_a_path() -> None:
    assert place_of("data/s3/cell.zarr") == Path("data/s3/cell.zarr")


def test_a_sharded_ome_zarr_is_the_same_as_on_disk(store: ObjectStore, local: Path) -> None:
    store.put_folder(local, "lab", "em/cell.zarr")
    found = open_image("s3://lab/em/cell.zarr")
    assert str(found.path) == "s3://lab/em/cell.zarr"
    on_disk = open_image(local)
    for what in ("format", "shape", "dtype", "chunks", "voxel_size_nm", "origin_nm", "details", "palette", "warnings"):
        assert getattr(found, what) == getattr(on_disk, what), what
    np.testing.assert_array_equal(found.read(), VOXELS)
    box = Box((2, 10, 20), (5, 60, 33))
    np.testing.assert_array_equal(found.read(box), VOXELS[box.slices])


def test_a_coarser_level_at_an_address(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "large.zarr"
    write_image(image_of_array(np.tile(VOXELS, (1, 5, 4)), voxel_size_nm=SIZE), path)
    store.put_folder(path, "lab", "large.zarr")
    found, on_disk = (open_image(level_path(place, 1)) for place in ("s3://lab/large.zarr", path))
    assert found.voxel_size_nm == on_disk.voxel_size_nm == (40.0, 16.0, 16.0)
    np.testing.assert_array_equal(found.read(), on_disk.read())
    with pytest.raises(FormatError, match="no level 9"):
        level_path("s3://lab/large.zarr", 9)


def test_a_web_server_without_lists_is_enough(store: ObjectStore, local: Path) -> None:
    store.put_folder(local, "lab", "em/a cell.zarr")
    volume = open_volume(f"{store.url}/lab/em/a cell.zarr")
    np.testing.assert_array_equal(volume.image.read(), VOXELS)
    assert volume.voxel_size_nm == SIZE
    assert volume.name == "a-cell"


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr_with_its_array_named(store: ObjectStore, tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "plain.zarr", mode="w", zarr_format=version)
    group.create_array("em/raw", data=VOXELS, chunks=(4, 32, 32))
    store.put_folder(tmp_path / "plain.zarr", "lab", "plain.zarr")
    np.testing.assert_array_equal(open_image("s3://lab/plain.zarr:/em/raw").read(), VOXELS)
    with pytest.raises(FormatError, match=r"name one of them: s3://lab/plain\.zarr:/NAME"):
        open_image("s3://lab/plain.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_consolidated_metadata_say_what_a_group_holds(store: ObjectStore, tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "plain.zarr", mode="w", zarr_format=version)
    group.create_array("raw", data=VOXELS, chunks=(4, 32, 32))
    zarr.consolidate_metadata(tmp_path / "plain.zarr", zarr_format=version)
    store.put_folder(tmp_path / "plain.zarr", "lab", "plain.zarr")
    np.testing.assert_array_equal(open_image("s3://lab/plain.zarr").read(), VOXELS)


def test_n5_and_precomputed(store: ObjectStore, tmp_path: Path) -> None:
    n5 = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{tmp_path}/cell.n5/em/s0/"},
        "metadata": {"dimensions": [90, 70, 9], "blockSize": [32, 32, 4], "dataType": "uint8",
                     "compression": {"type": "gzip"}},
        "create": True,
    }  # fmt: skip
    tensorstore.open(n5).result()[...].write(VOXELS.T).result()
    precomputed = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{tmp_path}/seg/"},
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": {"key": "8_8_40", "size": [90, 70, 9], "resolution": [8, 8, 40], "encoding": "raw",
                           "chunk_size": [64, 64, 8]},
        "create": True,
    }  # fmt: skip
    tensorstore.open(precomputed).result()[..., 0].write(VOXELS.T).result()
    for name in ("cell.n5", "seg"):
        store.put_folder(tmp_path / name, "lab", name)
    np.testing.assert_array_equal(open_image("s3://lab/cell.n5:/em/s0").read(), VOXELS)
    found = open_image("s3://lab/seg")
    np.testing.assert_array_equal(found.read(), VOXELS)
    assert found.voxel_size_nm == SIZE


def test_inspect_tells_of_the_label_images(store: ObjectStore, local: Path) -> None:
    write_image(image_of_array(VOXELS // 128, voxel_size_nm=SIZE), local / "labels" / "cells.zarr")
    (local / "labels" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "labels": ["cells.zarr"]}}}'
    )
    store.put_folder(local, "lab", "cell.zarr")
    image, labels = inspect("s3://lab/cell.zarr")
    assert (image.path, labels.path) == ("s3://lab/cell.zarr", "s3://lab/cell.zarr:/labels/cells.zarr")
    assert (image.maximum, labels.maximum) == (VOXELS.max(), 1)


def test_keys_are_sent_where_there_are_some(store: ObjectStore, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_folder(local, "lab", "cell.zarr")
    store.private.add("lab")
    with pytest.raises(MissingFileError, match=r"asked without keys: set AWS_ACCESS_KEY_ID .*AWS_PROFILE"):
        open_image("s3://lab/cell.zarr")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(MissingFileError, match=r"ask the owner of the bucket; .*CRISTAE_S3_CREDENTIALS=anonymous"):
        open_image("s3://lab/cell.zarr")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    np.testing.assert_array_equal(open_image("s3://lab/cell.zarr").read(), VOXELS)


def test_keys_of_a_profile(store: ObjectStore, local: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store.put_folder(local, "lab", "cell.zarr")
    store.private.add("lab")
    (tmp_path / "keys").write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    np.testing.assert_array_equal(open_image("s3://lab/cell.zarr").read(), VOXELS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://lib/cell.zarr", "there is no such bucket on http://127.0.0.1:.*check its name"),
        ("s3://lab/cel.zarr", "holds no metadata of Zarr, N5 or precomputed: does not exist; check the spelling"),
        ("s3://lab/cell.zarr:/labels/mito", "s3://lab/cell.zarr/labels/mito: does not exist"),
        ("s3://lab/cell.tif", "only OME-Zarr, Zarr, N5 and precomputed are read from addresses; download this '.tif'"),
        ("s3://lab", "expected s3://lab/PATH.zarr"),
        ("ftp://lab/cell.zarr", "an address of a kind that is not opened"),
    ],
)
def test_what_is_wrong_with_an_address(store: ObjectStore, local: Path, path: str, message: str) -> None:
    store.put_folder(local, "lab", "cell.zarr")
    with pytest.raises(CristaeError, match=message):
        open_image(path)


def test_a_server_that_is_gone_before_and_after_opening(store: ObjectStore, local: Path) -> None:
    store.put_folder(local, "lab", "cell.zarr")
    image = open_image("s3://lab/cell.zarr")

    def broken(method: str, path: str) -> None:
        raise ConnectionError

    store.before = broken
    for read in (image.read, lambda: open_image("s3://lab/cell.zarr")):
        with pytest.raises(MissingFileError, match=r"the server does not answer .*run the same command again"):
            read()


def test_a_page_for_any_address_is_no_volume(store: ObjectStore) -> None:
    store.objects["lab"]["cell.zarr/zarr.json"] = b"<!DOCTYPE html>"
    with pytest.raises(MissingFileError, match="holds no metadata of Zarr"):
        open_image(f"{store.url}/lab/cell.zarr")
