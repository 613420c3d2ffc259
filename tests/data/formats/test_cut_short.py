"""A mapped file that becomes shorter after it was opened is told, instead of ending the process."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.formats import open_image, write_image
from cristae.data.image import image_of_array
from cristae.errors import FormatError

VOXELS = np.arange(40 * 64 * 64, dtype=np.int16).reshape(40, 64, 64)


def nifti(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOXELS.T, np.eye(4)), path)  # type: ignore[no-untyped-call]


WRITE: dict[str, Callable[[Path], None]] = {
    "a.mrc": lambda path: write_image(image_of_array(VOXELS), path),
    "a.nii": nifti,
    "a.npy": lambda path: np.save(path, VOXELS),
}


@pytest.mark.parametrize("name", WRITE)
def test_a_file_cut_short_after_it_was_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITE[name](path)
    image = open_image(path)
    last = Box((39, 0, 0), (40, 64, 64))
    np.testing.assert_array_equal(image.read(last), VOXELS[39:])
    size = path.stat().st_size
    os.truncate(path, size // 2)
    with pytest.raises(FormatError, match="has become shorter since it was opened"):
        image.read(last)
    os.truncate(path, size)
    assert image.read(last).shape == (1, 64, 64)
