"""Real stacks flag nothing; one defect made in them is found, and nothing else, but for what is usual in the stack."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cristae.data.formats import open_image
from cristae.data.image import image_of_array
from cristae.data.sections import BadSection, look_at_sections
from cristae.data.volume import Volume

pytestmark = [pytest.mark.data, pytest.mark.slow]

STACKS = {
    "cdeep3m-mito": "images",
    "drosophila-vnc": "raw",
    "flyem-medulla-fibsem": "grayscale_maps",
    "isbi2012": "images",
}
DEFECTS = {
    "missing": lambda plane: np.random.default_rng(0).integers(0, 3, plane.shape),
    "blurred": lambda plane: ndimage.gaussian_filter(plane, 2),
    "jumped": lambda plane: (plane - plane.mean()) * 0.5 + plane.mean(),
    "shifted": lambda plane: ndimage.shift(plane, (20, -10), order=0, mode="nearest"),
}
PLACES = (1, 4, 7, 11)
USUAL = {
    ("drosophila-vnc", "blurred"): (1,),
    ("drosophila-vnc", "shifted"): (11,),
    ("isbi2012", "shifted"): (1, 4, 7),
}
"""What is not found, 5 of 64: sections of these stacks lie up to 25 voxels off each other, or differ in sharpness."""


def look(grey: np.ndarray) -> tuple[BadSection, ...]:
    return look_at_sections(Volume("cell", image_of_array(grey)), range(len(grey))).bad


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> np.ndarray:
    """At most 40 sections of 512 x 512 pixels."""
    folder = os.environ.get("CRISTAE_DATA")
    if not folder:
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")
    return open_image(Path(folder) / request.param / STACKS[request.param]).read()[:40, :512, :512]


def test_nothing_is_said_of_good_stacks(stack: np.ndarray) -> None:
    assert look(stack) == ()


@pytest.mark.parametrize("kind", DEFECTS)
def test_one_defect_is_found_and_nothing_else(stack: np.ndarray, kind: str, request: pytest.FixtureRequest) -> None:
    found, name = [], request.node.callspec.params["stack"]
    for z in PLACES:
        grey = stack.copy()
        grey[z] = np.rint(DEFECTS[kind](grey[z].astype(float))).clip(0, 255)
        bad = look(grey)
        assert {one.slice for one in bad} <= {z}
        found += [z] if kind in {one.kind for one in bad} else []
    assert found == [z for z in PLACES if z not in USUAL.get((name, kind), ())]
