"""Paths that name nothing, lead in circles, or are no files: an error of ours that says what to do, at once."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from cristae.data.files import require_new, write_text
from cristae.data.formats import open_image, write_image
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, FormatError, MissingFileError, OutputExistsError, StorageError

STACK = np.arange(3 * 9 * 9, dtype=np.uint8).reshape(3, 9, 9)
LONG = "x" * 300


def test_a_plain_zarr_array_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), data=STACK)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(open_image("a.zarr").read(), STACK)


def test_a_level_by_its_name_alone_keeps_its_voxel_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(image_of_array(STACK, voxel_size_nm=(40.0, 4.0, 4.0)), tmp_path / "a.zarr")
    monkeypatch.chdir(tmp_path / "a.zarr")
    assert open_image("0").voxel_size_nm == (40.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{LONG}.tif", "longer than the file system allows"),
        (f"{LONG}.h5:/data", "longer than the file system allows"),
        (f"{LONG}/a.tif", "longer than the file system allows"),
        ("dangling.tif", r"a symbolic link to nowhere\.tif, which does not exist"),
        ("loop", "round in a circle"),
        ("loop/a.tif", "round in a circle"),
        ("file.tif/a.tif", "a file, not a folder"),
        ("none.tif", "does not exist"),
        ("ftp://example.org/cell.tif", "an address of a kind that is not opened; .*download it"),
    ],
)
def test_places_where_nothing_is(tmp_path: Path, name: str, words: str) -> None:
    tifffile.imwrite(tmp_path / "file.tif", STACK, photometric="minisblack")
    (tmp_path / "dangling.tif").symlink_to("nowhere.tif")
    (tmp_path / "loop").symlink_to("loop")
    for place in (tmp_path / name, f"{tmp_path}/{name}"):
        with pytest.raises(MissingFileError, match=words):
            open_image(place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.tif", "a.png", "a.h5", "a.mrc", "a.zarr"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(FormatError, match="is a pipe or a device; expected a file or a folder"):
            open_image(tmp_path / name)
    with pytest.raises(FormatError, match="several formats"):
        open_image(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(FormatError, match=r"a\.tif: is a pipe"):
        open_image(tmp_path)
    with pytest.raises(FormatError, match="is a pipe"):
        open_image("/dev/null")


def test_a_damaged_link_among_slices(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "1.tif", STACK[0])
    (tmp_path / "2.tif").symlink_to("gone.tif")
    with pytest.raises(MissingFileError, match=r"2\.tif: is a symbolic link to gone\.tif"):
        open_image(tmp_path)


def test_metadata_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(image_of_array(STACK), tmp_path / "a.zarr")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "read_text", lambda path, **options: refuse(path))
    with pytest.raises(MissingFileError, match=r"zarr\.json: may not be read: permission denied; ask its owner"):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (f"{LONG}.html", StorageError, "longer than the file system allows; choose a shorter one"),
        ("busy/a.html", StorageError, "not a folder.*choose another place"),
        ("busy/deep/a.html", StorageError, "not a folder.*choose another place"),
        ("dangling/a.html", StorageError, "not a folder.*choose another place"),
        ("loop/a.html", StorageError, "choose another place"),
        ("dangling", OutputExistsError, "exists already as a link"),
        ("loop", OutputExistsError, "exists already as a link"),
        ("busy", OutputExistsError, "exists already;"),
    ],
)
def test_places_where_nothing_can_be_written(tmp_path: Path, name: str, error: type[CristaeError], words: str) -> None:
    (tmp_path / "busy").write_text("thesis")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(error, match=words):
        require_new(tmp_path / name, what="the page")
    if error is StorageError:
        with pytest.raises(StorageError, match="cannot write"):
            write_text(tmp_path / name, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["busy", "dangling", "loop"]


def test_slices_that_a_file_marks_as_colours_are_distinguished_from_types_mrc_cannot_hold(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((3, 9, 9), np.float64), photometric="minisblack")
    with pytest.raises(FormatError, match=r"holds 3 colours in 1 x 9 x 9 voxels.*save it again as a grey stack"):
        write_image(open_image(tmp_path / "rgb.tif"), tmp_path / "a.mrc")
    with pytest.raises(FormatError, match="no mode for float64 values"):
        write_image(open_image(tmp_path / "grey.tif"), tmp_path / "a.mrc")
