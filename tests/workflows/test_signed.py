"""Whether the 8-bit values of an MRC file are signed can be said to every verb that reads one."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from prediction_runs import make_run

from cristae.data.formats import open_image
from cristae.data.open import open_volume
from cristae.errors import FormatError, VolumeError
from cristae.inference.config import PredictOptions
from cristae.recipe.load import load_recipe
from cristae.recipe.proposal.options import ProposalOptions
from cristae.workflows.convert import convert
from cristae.workflows.inspect import inspect
from cristae.workflows.new_recipe import new_recipe
from cristae.workflows.predict import plan_prediction

GREY = np.clip(np.cumsum(np.random.default_rng(0).normal(0, 3, (8, 48, 48)), -1) + 128, 0, 255).astype(np.uint8)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    with mrcfile.new(tmp_path / "cell.mrc") as file:
        file.set_data(GREY.view(np.int8))
        file.voxel_size = 46
    return tmp_path / "cell.mrc"


def test_inspect_names_the_way_out(image: Path) -> None:
    (found,) = inspect(image)
    assert (found.dtype, found.minimum < 0) == ("int8", True)
    assert any("--unsigned, or ::signed=false after the path" in problem for problem in found.problems)
    for again in (*inspect(image, signed=False), *inspect(f"{image}::signed=false")):
        assert (again.dtype, again.minimum, again.problems) == ("uint8", float(GREY.min()), ())
    assert inspect(image, signed=True)[0].details["mode"] == "mode 0, signed as stated"


def test_convert(image: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(convert(image, tmp_path / "a.h5", signed=False).read(), GREY)
    np.testing.assert_array_equal(convert(image, tmp_path / "b.h5", signed=True).read(), GREY.view(np.int8))


def test_new_recipe_writes_it_down(image: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "labels.tif", (GREY > 128).astype("u1"), photometric="minisblack")
    labels, options = str(tmp_path / "labels.tif"), ProposalOptions(measure=False)
    written = new_recipe(tmp_path / "r.yaml", image=str(image), labels=labels, signed=False, options=options)
    (volume,) = load_recipe(written).data.volumes
    np.testing.assert_array_equal(open_image(tmp_path / volume.source).read(), GREY)


def test_predict(image: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    size = (4.6, 4.6, 4.6)
    for signed, dtype in ((False, "uint8"), (True, "int8")):
        options = PredictOptions(signed=signed)
        planned = plan_prediction([run], image, out=tmp_path / "out.zarr", voxel_size_nm=size, options=options)
        volume = planned.request.provenance.volume
        assert (volume.dtype, volume.path) == (dtype, f"{image}::signed={str(signed).lower()}")
    with pytest.raises(VolumeError, match="is open already; say `signed` where it is opened"):
        plan_prediction([run], open_volume(image), out=tmp_path / "out.zarr", options=PredictOptions(signed=False))


def test_other_files_and_modes_say_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack")
    with mrcfile.new(tmp_path / "b.mrc") as file:
        file.set_data(GREY.astype("i2"))
    for name, words in (("a.tif", "8-bit MRC files"), ("b.mrc", "mode 1; leave it out")):
        with pytest.raises(FormatError, match=words):
            inspect(tmp_path / name, signed=False)
