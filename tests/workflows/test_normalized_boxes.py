"""A box of a volume whose slices are normalised each by itself: only the slices that are needed are read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run, textured

from cristae.data.box import Box
from cristae.data.volume import Volume
from cristae.inference.config import PredictOptions
from cristae.workflows.predict import predict

KEEP = PredictOptions(probabilities=True)
NETWORKS = {
    1: "{name: unet_bn, widths: [4, 8]}",
    3: "{name: unet_bn, widths: [4, 8], slices: 3}",
    5: "{name: unet_bn, widths: [4, 8], slices: 5}",
}


def drifting() -> np.ndarray:
    """Seven slices, each of another brightness and contrast."""
    grey = textured((7, 75, 110)).astype(float)
    gain, offset = np.linspace(0.3, 0.9, 7), np.linspace(60, 0, 7)
    return (grey * gain[:, None, None] + offset[:, None, None]).astype(np.uint8)


def watched(grey: np.ndarray) -> tuple[Volume, set[int]]:
    """A volume, and the slices that have been read of it."""
    volume, seen = cell(grey), set[int]()
    reader = volume.image.reader

    def read(box: Box) -> np.ndarray:
        seen.update(range(box.start[0], box.stop[0]))
        return reader(box)

    return replace(volume, image=replace(volume.image, reader=read)), seen


@pytest.mark.parametrize("slices", NETWORKS)
@pytest.mark.parametrize("box", ["3:4,5:50,7:60", "0:1,:,:", "5:7,:,:"])
def test_only_the_slices_that_are_needed_are_read_and_the_result_is_that_of_the_whole(
    tmp_path: Path, slices: int, box: str
) -> None:
    run = make_run(tmp_path / "run", scope="slice", model=NETWORKS[slices])
    grey, around = drifting(), slices // 2
    whole = predict([run], cell(grey), out=tmp_path / "whole.zarr", options=KEEP)
    volume, seen = watched(grey)
    part = predict([run], volume, out=tmp_path / "part.zarr", box=box, options=KEEP)
    start, stop = part.box.start[0], part.box.stop[0]
    assert seen == set(range(max(0, start - around), min(7, stop + around)))
    for one, other in zip(part.probabilities, whole.probabilities, strict=True):
        np.testing.assert_array_equal(one.read(), other.read(part.box))
    np.testing.assert_array_equal(part.labels[0].read(), whole.labels[0].read(part.box))
    again = predict([run], volume, out=tmp_path / "part.zarr", box=box, options=KEEP)
    assert again.attributes == part.attributes, "the same call finds it finished"


def test_a_slice_of_one_value_takes_the_range_of_the_whole_volume(tmp_path: Path) -> None:
    run, grey = make_run(tmp_path / "run", scope="slice"), drifting()
    grey[3] = 90
    whole = predict([run], cell(grey), out=tmp_path / "whole.zarr", options=KEEP)
    volume, seen = watched(grey)
    part = predict([run], volume, out=tmp_path / "part.zarr", box="2:4,:,:", options=KEEP)
    assert seen == set(range(7))
    np.testing.assert_array_equal(part.probabilities[0].read(), whole.probabilities[0].read(part.box))


@pytest.mark.parametrize(
    ("scope", "model"), [("volume", NETWORKS[1]), ("slice", "{name: unet_3d, base: 2, shape: thick}")]
)
def test_what_depends_on_the_whole_volume_reads_all_of_it(tmp_path: Path, scope: str, model: str) -> None:
    size = (32, 32) if model == NETWORKS[1] else (8, 32, 32)
    run = make_run(tmp_path / "run", scope=scope, model=model, patch_size=size)
    volume, seen = watched(drifting())
    predict([run], volume, out=tmp_path / "part.zarr", box="3:4,5:50,7:60")
    assert seen == set(range(7))
