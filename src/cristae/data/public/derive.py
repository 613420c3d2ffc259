"""Files of a data set that are made on this machine: from a published original, or from nothing but a rule."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from cristae.data.files import storage_errors
from cristae.data.public.base import Derivation, PublicSet, SetFile
from cristae.data.public.download import download
from cristae.errors import DownloadError, OutputExistsError
from cristae.progress import Task


def derive(chosen: PublicSet, file: SetFile, target: Path) -> None:
    """Download what a file is made from, make it, and remove the original.

    Raises:
        DownloadError: The original cannot be had or does not hold what it should.
    """
    if chosen.derived is None:
        raise AssertionError("only a set with a derivation has derived files")
    original = target.with_name(f"{target.stem}.original.h5.gz")
    download(file.address, original, chosen.derived.original_sha256, Task())
    make_neuron_ids(original, target, chosen.derived)
    original.unlink()


def compute(chosen: PublicSet, file: SetFile, target: Path) -> None:
    """Write a file of a set that is computed; it appears when it is complete.

    Raises:
        StorageError: The disk is full or may not be written.
    """
    from cristae.data.formats import write_image

    if chosen.compute is None:
        raise AssertionError("only a set that says how has computed files")
    with suppress(OutputExistsError):  # another process was faster, and computes the same
        write_image(chosen.compute(file.path), target)


def make_neuron_ids(original: Path, target: Path, derivation: Derivation) -> None:
    """Write the neuron of each voxel, `transforms[stack]`, as a uint32 TIFF stack.

    Args:
        original: Gzipped HDF5 with `stack` (z, y, x), supervoxel ids, and `transforms` (n, 2), supervoxel to neuron.
        target: The TIFF, which appears only when complete.
        derivation: Which slices.

    Raises:
        DownloadError: A data set is missing, or a supervoxel has no neuron.
    """
    import h5py
    import tifffile

    plain = original.with_suffix("")
    beside = target.with_name(f".{target.name}.part")
    start, stop = derivation.slices
    try:
        with storage_errors(target):
            _unpack(original, plain)
            with h5py.File(plain) as content:
                if not {"stack", "transforms"} <= set(content):
                    raise DownloadError(
                        f"{original}: expected data sets 'stack' and 'transforms', found {list(content)}"
                    )
                table = content["transforms"][...]
                voxels = content["stack"][start:stop]
            ids = _look_up(voxels, table, original)
            tifffile.imwrite(beside, ids, photometric="minisblack", compression="zlib", metadata={"axes": "ZYX"})
            beside.replace(target)
    finally:
        plain.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)


def voxel_sha256(path: Path) -> str:
    """Checksum of the voxels of a TIFF stack, as little-endian uint32 in C order: compression may differ."""
    import tifffile

    digest = hashlib.sha256()
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            digest.update(np.ascontiguousarray(page.asarray(), "<u4").tobytes())
    return digest.hexdigest()


def _look_up(voxels: np.ndarray, table: np.ndarray, original: Path) -> np.ndarray:
    order = np.argsort(table[:, 0], kind="stable")
    keys, neurons = table[order, 0], table[order, 1]
    place = np.minimum(np.searchsorted(keys, voxels), len(keys) - 1)
    # Supervoxel 0 is the unlabelled space, which the table may leave out.
    found = (keys[place] == voxels) | (voxels == 0)
    if not found.all():
        raise DownloadError(f"{original}: {int((~found).sum())} voxels have no neuron in 'transforms'")
    ids: np.ndarray = np.where(keys[place] == voxels, neurons[place], 0).astype(np.uint32)
    return ids


def _unpack(original: Path, plain: Path) -> None:
    with gzip.open(original) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
