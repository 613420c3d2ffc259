"""The public data sets' own files, with the facts that their documentation states."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cristae.data.formats import UnequalSlicesError, open_image, open_images

ROOT = Path(os.environ.get("CRISTAE_DATA") or "unset")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not ROOT.is_dir(), reason="CRISTAE_DATA does not name a folder with the public data sets"),
]


def test_palette_labels_are_indices() -> None:
    labels = open_image(ROOT / "cdeep3m-mito" / "labels")
    voxels = labels.read()
    assert (labels.shape, set(np.unique(voxels))) == ((20, 1024, 1024), {0, 1})
    assert voxels.mean() == pytest.approx(0.088, abs=5e-4)
    assert labels.slice_names is not None
    assert labels.slice_names[0] == "mitos_3D.010"


def test_one_bit_and_grey_masks_together() -> None:
    masks = open_image(ROOT / "drosophila-vnc" / "mitochondria")
    inside = masks.read() >= 128
    labels = open_image(ROOT / "drosophila-vnc" / "labels").read() == 191
    assert 2 * (inside & labels).sum() / (inside.sum() + labels.sum()) > 0.99


def test_grey_with_alpha_and_sizes_of_their_own() -> None:
    folder = ROOT / "axondeepseg-sem" / "derivatives" / "labels" / "sub-rat5" / "micr"
    assert open_image(next(folder.glob("*axonmyelin*"))).colors == 2
    with pytest.raises(UnequalSlicesError):
        open_image(ROOT / "axondeepseg-sem" / "sub-rat3" / "micr")
    assert len(open_images(ROOT / "axondeepseg-sem" / "sub-rat3" / "micr")) == 3


def test_instances_and_sixteen_bits() -> None:
    path = ROOT / "flyem-medulla-fibsem" / "neurons_iso2600-2789.tif"
    ids = open_image(path)
    assert (ids.shape, ids.dtype) == ((190, 250, 250), np.uint32)
    np.testing.assert_array_equal(ids.read(), tifffile.imread(path))
    platelets = open_image(ROOT / "platelet-em" / "50-images.png").read()
    assert (platelets.min(), platelets.max()) == (0, 65535)
    assert open_image(ROOT / "platelet-em" / "50-semantic.png").colors == 4
