"""HDF5 files whose arrays are elsewhere, are reached by several links, or cannot be read here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cristae.data.formats import hdf5_storage, open_image
from cristae.data.formats.hdf5 import list_hdf5
from cristae.data.inspection import images_in
from cristae.errors import FormatError

STACK = np.random.default_rng(3).integers(0, 60000, (6, 40, 56)).astype("u2")


def test_an_external_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with h5py.File(tmp_path / "raw" / "data.h5", "w") as file:
        file["exported_data"] = STACK
        file["exported_data"].attrs["element_size_um"] = [0.04, 0.004, 0.004]
    with h5py.File(tmp_path / "index.h5", "w") as file:
        file["raw"] = h5py.ExternalLink("raw/data.h5", "exported_data")
    assert list_hdf5(tmp_path / "index.h5") == ("raw",)
    for path in (tmp_path / "index.h5", f"{tmp_path}/index.h5:/raw"):
        image = open_image(path)
        np.testing.assert_array_equal(image.read(), STACK)
        assert (image.voxel_size_nm, image.details["array"]) == ((40, 4, 4), "data.h5:/exported_data")
    assert [name for name, *_ in images_in(tmp_path / "index.h5")] == [str(tmp_path / "index.h5")]


def test_an_array_is_listed_once_whatever_leads_to_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/soft"] = h5py.SoftLink("/b/raw")
        file["b/raw"] = STACK
        file["c"] = file["b/raw"]
        file["d"] = h5py.ExternalLink("a.h5", "/b/raw")
        file["b/up"] = file["/"]
        file["b/circle"] = h5py.SoftLink("/b/circle")
    assert list_hdf5(tmp_path / "a.h5") == ("b/raw",)
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.h5:/a/soft").read(), STACK)
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.h5").read(), STACK)


def test_files_that_link_to_each_other(tmp_path: Path) -> None:
    for mine, other in (("a", "b"), ("b", "a")):
        with h5py.File(tmp_path / f"{mine}.h5", "w") as file:
            file[mine] = STACK
            file["other"] = h5py.ExternalLink(f"{other}.h5", "/")
    assert list_hdf5(tmp_path / "a.h5") == ("a", "other/b")


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (h5py.ExternalLink("gone.h5", "/x"), r"a link to gone\.h5:/x, and the file is missing"),
        (h5py.ExternalLink("whole.h5", "/y"), r"a link to whole\.h5:/y, and there is no such array"),
        (h5py.SoftLink("/nothing"), "a link to /nothing in the same file, which does not exist"),
        (h5py.SoftLink("/raw"), "leads round in a circle"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, link: Any, words: str) -> None:
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["x"] = STACK
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = link
    for path in ("a.h5", "a.h5:/raw", "a.h5:/raw/deeper"):
        with pytest.raises(FormatError, match=words):
            open_image(f"{tmp_path}/{path}")


def external(path: Path, **parts: int) -> Path:
    """An array of `STACK` whose voxels are in raw files, so many bytes each."""
    content, begin = STACK.tobytes(), 0
    for name, size in parts.items():
        (path.parent / name).write_bytes(b"head" + content[begin : begin + size])
        begin += size
    with h5py.File(path, "w") as file:
        listed = [(name, 4, size) for name, size in parts.items()]
        file.create_dataset("x", STACK.shape, STACK.dtype, external=listed)
    return path


def test_raw_files_are_looked_for_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    path = external(tmp_path / "there" / "a.h5", one=10_000, two=STACK.nbytes - 10_000)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(open_image(path).read(), STACK)
    (tmp_path / "there" / "two").write_bytes(b"head")
    with pytest.raises(FormatError, match=r"voxels are in two, which is truncated: 0 bytes"):
        open_image(path)
    (tmp_path / "there" / "one").unlink()
    with pytest.raises(FormatError, match=r"voxels are in one, which is missing"):
        open_image(path)


class TestVirtual:
    """libhdf5 gives fill values for whatever it cannot find."""

    def file(self, tmp_path: Path, *, sources: int = 6, name: str = "x") -> Path:
        layout = h5py.VirtualLayout(STACK.shape, STACK.dtype)
        for z in range(sources):
            with h5py.File(tmp_path / f"part{z}.h5", "w") as file:
                file["x"] = STACK[z]
            layout[z] = h5py.VirtualSource(f"part{z}.h5", name, STACK.shape[1:])
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_virtual_dataset("data", layout, fillvalue=7)
        return tmp_path / "a.h5"

    def test_whole(self, tmp_path: Path) -> None:
        image = open_image(self.file(tmp_path))
        np.testing.assert_array_equal(image.read(), STACK)
        assert "note" not in image.details

    def test_missing_file(self, tmp_path: Path) -> None:
        path = self.file(tmp_path)
        (tmp_path / "part3.h5").unlink()
        with pytest.raises(FormatError, match=r"part3\.h5:/x; the file is missing"):
            open_image(path)

    def test_missing_array(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match=r"part0\.h5:/gone, where no such array"):
            open_image(self.file(tmp_path, name="gone"))

    def test_source_that_shrank(self, tmp_path: Path) -> None:
        path = self.file(tmp_path)
        with h5py.File(tmp_path / "part2.h5", "w") as file:
            file["x"] = STACK[2, :30]
        with pytest.raises(FormatError, match="has another shape than when it was linked"):
            open_image(path)

    def test_voxels_of_no_source(self, tmp_path: Path) -> None:
        image = open_image(self.file(tmp_path, sources=4))
        assert (image.read()[4:] == 7).all()
        assert image.details["note"].startswith(f"{2 * 40 * 56} voxels belong to no source")


def test_a_file_that_another_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    code = f"import h5py, sys; f = h5py.File({str(path)!r}, 'w'); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(FormatError, match="open in a program that writes it"):
            open_image(path)
        writer.communicate(b"")


def test_a_filter_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=STACK, chunks=(2, 40, 56), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != 1)
    monkeypatch.setattr(hdf5_storage, "find_spec", lambda name: None)
    with pytest.raises(FormatError, match=r"compressed with deflate \(HDF5 filter 1\), which is not installed"):
        open_image(tmp_path / "a.h5")


@pytest.mark.parametrize("kind", ["Blosc", "Blosc2", "LZ4", "Bitshuffle", "Zstd", "BZip2"])
def test_filters_of_hdf5plugin(tmp_path: Path, kind: str) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=STACK, chunks=(2, 40, 56), **getattr(hdf5plugin, kind)())
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5").read(), STACK)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda file: file.create_dataset("x", data=np.zeros(4, [("z", "f4"), ("y", "f4")])), "holds records of z, y"),
        (lambda file: file.create_dataset("x", data=np.zeros((2, 3, 4), "c8")), "holds complex numbers"),
        (lambda file: file.create_dataset("x", data=3.5), "is one number"),
        (lambda file: file.create_dataset("x", data=np.arange(9)), "is a list of 9 numbers"),
        (lambda file: file.create_dataset("x", data=h5py.Empty("u1")), "is empty"),
        (lambda file: file.create_dataset("x", (2, 3), h5py.string_dtype()), "holds text or references"),
        (lambda file: file.create_dataset("x", (2, 3), h5py.vlen_dtype("u1")), "holds text or references"),
        (lambda file: file.create_dataset("x", (2, 3, 4), np.longdouble), "holds 128-bit floats"),
    ],
)
def test_arrays_that_are_no_image_are_named(tmp_path: Path, fill: Callable[[Any], Any], words: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        fill(file)
    assert list_hdf5(tmp_path / "a.h5") == ()
    for path in ("a.h5", "a.h5:/x"):
        with pytest.raises(FormatError, match=words):
            open_image(f"{tmp_path}/{path}")


def test_enumerations_user_blocks_and_arrays_never_written(tmp_path: Path) -> None:
    kinds = h5py.enum_dtype({"background": 0, "mito": 1}, "u1")
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("x", data=(STACK > 9).astype("u1"), dtype=kinds)
        file.create_dataset("late", STACK.shape, "u1", chunks=True)
    image = open_image(f"{tmp_path}/a.h5:/x")
    assert (image.dtype, image.details["label 1"]) == (np.dtype("u1"), "mito")
    np.testing.assert_array_equal(image.read(), STACK > 9)
    assert "chunks were never written" in open_image(f"{tmp_path}/a.h5:/late").details["note"]


def test_an_array_that_was_not_written_to_its_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", STACK.shape, "u2", chunks=(1, 40, 56), compression="gzip")[:4] = STACK[:4]
    image = open_image(tmp_path / "a.h5")
    assert image.details["note"] == "2 of 6 chunks were never written, and hold the fill value 0 only"
