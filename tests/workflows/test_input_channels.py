"""Networks that are shown grain-filtered patches beside the patches: training, checking, prediction in windows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from prediction_runs import cell, textured
from training_data import write_discs

from cristae.augment import Batch
from cristae.inference.config import PredictOptions
from cristae.inference.windows import third_steps
from cristae.preprocess.filtered_channels import FilteredChannels
from cristae.preprocess.grain import grain_filter
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run, open_run
from cristae.report.prediction_page import prediction_page
from cristae.training import module
from cristae.workflows.predict import predict
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

CHANNELS = "input_channels=[{name: grain_filter, area_px: 60}, {name: grain_filter, area_px: 9}]"
KEEP = PredictOptions(probabilities=True)
SIDE = 32


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def trained(folder: Path, *changes: str) -> Run:
    recipe = write_discs(folder / "data", epochs=1)
    options = (CHANNELS, "sampling.per_epoch=8", "predict.block_vox=[2, 24, 32]", *changes)
    assert check_recipe(recipe, options)
    return train(load_recipe(recipe, options), out=folder / "run")


def by_hand(run: Run, grey: np.ndarray) -> np.ndarray:
    """Probabilities of discs in a slice as Meyer et al. (2021) make them: each window filtered by itself."""
    network = run.build_network()
    pads = [third_steps(length, SIDE) for length in grey.shape]
    normal = run.normalizer.apply(grey)
    wide = np.pad(normal, [(before, after) for before, after, _ in pads], mode="symmetric")
    third, out = SIDE // 3, np.zeros(wide.shape, np.float32)
    for y in pads[0][2]:
        for x in pads[1][2]:
            patch = wide[y : y + SIDE, x : x + SIDE]
            image = torch.from_numpy(np.stack([patch, *grain_filter(patch, [60, 9])])[None])
            with torch.inference_mode():
                found = torch.sigmoid(network(image))[0, 0].numpy()
            out[y + third : y + 2 * third, x + third : x + 2 * third] = found[third : 2 * third, third : 2 * third]
    (top, bottom), (left, right) = (pad[:2] for pad in pads)
    return out[top : wide.shape[0] - bottom, left : wide.shape[1] - right]


def test_a_run_is_predicted_in_windows_that_are_filtered_one_by_one_and_says_so(tmp_path: Path) -> None:
    run, said = open_run(trained(tmp_path, "predict.windows=centre_third").path), Said()
    grey = textured()[:2]
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=KEEP, progress=said)
    expected = np.stack([by_hand(run, plane) for plane in grey])
    assert np.abs(found.probabilities[0].read() - 255 * expected).max() < 0.51
    why = "input_channels (grain_filter of 60 and 9 pixels) are made of each patch by itself"
    assert any("windows of 32 x 32" in line and why in line for line in said.lines)
    assert found.attributes["runs"][0]["locality"]["reason"] == why
    assert why in prediction_page(found)
    assert found.attributes["runs"][0]["windows"]["rule"] == "centre_third"
    box = predict([run], cell(grey), out=tmp_path / "box.zarr", options=KEEP, box="1:2,5:40,7:50")
    assert np.abs(box.probabilities[0].read() - found.probabilities[0].read(box.box).astype(int)).max() <= 1


def test_patches_are_filtered_after_their_augmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where grey values change: the channels are those of the patch that the network sees."""
    batches: list[Batch] = []
    ready = module.ready_batch

    def watched(*given: object, **options: bool) -> Batch:
        batches.append(ready(*given, **options))  # type: ignore[arg-type]
        return batches[-1]

    monkeypatch.setattr(module, "ready_batch", watched)
    trained(tmp_path, "augment=[{name: rotate}, {name: brightness, amount: 0.3, probability: 1}]")
    assert batches
    for batch in batches:
        assert batch.image.shape[1] == 3
        assert torch.equal(batch.image, FilteredChannels((60, 9))(batch.image[:, :1]))


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        (("model={name: unet_bn, widths: [4, 8], slices: 3}",), 9),
        (("model={name: unet_3d, base: 4, depth: 3}", "sampling.size=[8, 32, 32]", "predict.block_vox=null"), 3),
        pytest.param(("normalize={name: min_max, scope: patch}",), 3, marks=pytest.mark.slow),
        pytest.param(("training.validation={name: patches, batches: 2}",), 3, marks=pytest.mark.slow),
    ],
    ids=["neighbouring slices", "volumes", "scaled by patch", "sampled validation"],
)
def test_channels_go_with_the_rest(tmp_path: Path, changes: tuple[str, ...], channels: int) -> None:
    run = trained(tmp_path, *changes)
    assert run.recipe.in_channels == channels
    first = next(p for p in run.build_network().parameters() if p.ndim > 3)
    assert first.shape[1] == channels
    found = predict([run], cell(textured()), out=tmp_path / "out.zarr", options=KEEP)
    assert found.probabilities[0].read().std() > 0
