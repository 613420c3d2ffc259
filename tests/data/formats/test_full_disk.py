"""Places that run out while an image is written, or that could never hold it."""

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from cristae.data.formats import open_image, room, write_image
from cristae.data.formats.full_disk import PatientFile
from cristae.data.image import Image, image_of_array
from cristae.errors import CristaeError, StorageError, VolumeError

SUFFIXES = (".tif", ".mrc", ".h5", ".zarr")
NOISE = image_of_array(np.random.default_rng(0).integers(0, 255, (6, 200, 200)).astype(np.uint8))

# A limit on the length of files behaves as a full disk does, and needs no rights.
LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import StorageError
noise = np.random.default_rng(0).integers(0, 255, (6, 200, 200)).astype(np.uint8)
image = image_of_array(noise, voxel_size_nm=(4.0, 4.0, 4.0))
import h5py, tensorstore, tifffile
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_image(image, Path(sys.argv[1]))
    except StorageError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the length of files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_gives_an_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    limits = ["0", "50", "700"] if suffix == ".zarr" else ["0", "50", "700", "3000", "20000", "100000"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), *limits], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(limits)
    assert all(line.startswith(f"{path}: cannot write: the ") for line in lines), lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room_bytes", [0, 10, 500, 3000])
def test_hdf5_reads_back_what_a_full_disk_refused(tmp_path: Path, room_bytes: int) -> None:
    class Small(PatientFile):
        def write(self, content: Any) -> int:
            if self.failure is None and self.tell() > room_bytes:
                self.failure = OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    voxels = np.random.default_rng(1).integers(0, 255, (80, 81)).astype(np.uint8)
    with Small(tmp_path / "a.h5") as target:
        with h5py.File(target, "w", rdcc_nbytes=0) as file:
            array = file.create_dataset("x", data=voxels, chunks=(7, 8), compression="gzip")
            file.flush()
            np.testing.assert_array_equal(array[()], voxels)
        assert target.failure is not None
    assert (tmp_path / "a.h5").stat().st_size < voxels.nbytes


def huge(kind: str, folder: Path) -> Image:
    side = 10**6
    if kind == "zarr":
        zarr.open_group(str(folder / "x.zarr"), mode="w").create_array(
            "0", shape=(side,) * 3, chunks=(64,) * 3, dtype="u1"
        )
        return open_image(folder / "x.zarr")
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("data", (side,) * 3, "u1", chunks=(64,) * 3)
    return open_image(folder / "x.h5")


@pytest.mark.parametrize("kind", ["zarr", "h5"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_shape_that_fits_no_disk_is_refused_before_the_first_voxel(tmp_path: Path, kind: str, suffix: str) -> None:
    image = huge(kind, tmp_path)
    with pytest.raises(CristaeError, match=r"1000000 x 1000000 x 1000000 voxels \(z, y, x\)") as caught:
        write_image(image, tmp_path / "out" / f"a{suffix}")
    assert isinstance(caught.value, VolumeError if suffix == ".tif" else StorageError)
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{kind}"]


def test_the_free_disk_counts_as_it_is_for_mrc_and_fifty_times_for_what_is_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 6 * 200 * 200
    for suffix, bound in ((".mrc", 2 * size), (".tif", -(-size // 50)), (".h5", -(-size // 50)), (".zarr", size // 50)):
        monkeypatch.setattr(room, "_free_disk", lambda path, bound=bound: bound - 1)
        with pytest.raises(StorageError, match=rf"a\{suffix}: cannot write: .*KiB of voxels"):
            write_image(NOISE, tmp_path / f"a{suffix}")
        monkeypatch.setattr(room, "_free_disk", lambda path, bound=bound: bound)
        write_image(NOISE, tmp_path / f"a{suffix}")


def test_a_failed_write_leaves_no_folder_it_made(tmp_path: Path) -> None:
    def fail(box: object) -> np.ndarray:
        raise VolumeError("x.png: is damaged")

    (tmp_path / "kept").mkdir()
    broken = Image(Path("x.png"), "png", (2, 9, 9), np.dtype("uint8"), fail)
    for suffix in SUFFIXES:
        for folder in ("kept", "kept/sub", "new/deep"):
            with pytest.raises(VolumeError, match="damaged"):
                write_image(broken, tmp_path / folder / f"a{suffix}")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_read_only_place_is_named_as_the_user_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """A read-only file system refuses even to remove what is not there."""

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    path = tmp_path / f"a{suffix}"
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr("tempfile.mkstemp", lambda *a, **k: refuse(path.with_name("other")))
    monkeypatch.setattr("tifffile.TiffWriter", refuse)
    monkeypatch.setattr(PatientFile, "__init__", lambda self, path: refuse(path))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError) as caught:
        write_image(NOISE, path)
    assert str(caught.value) == f"{path}: cannot write: the file system is read-only; choose a place you may write to"
