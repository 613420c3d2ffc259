"""Networks that are shown grain-filtered copies of whole slices: training sees parts of these, prediction is exact."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from prediction_runs import cell, make_run, textured
from torch import nn
from training_data import write_discs

from cristae.augment import Batch
from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.errors import OutputExistsError, RunError, VolumeError
from cristae.evaluation.validation import PredictedSlab, Validation, plan_validation
from cristae.inference import job, plan
from cristae.inference.config import PredictOptions
from cristae.inference.predictor import Member, Predictor
from cristae.inference.windows import Windows
from cristae.inference.writer import PredictionWriter
from cristae.preprocess import filtered_slices
from cristae.preprocess.grain import grain_filter
from cristae.preprocess.local_contrast import LocalContrast
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.matching import member_of
from cristae.recipe.run import Run, open_run, save_weights
from cristae.training import module
from cristae.workflows.inspect_weights import inspect_weights
from cristae.workflows.predict import predict
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

AREAS = (60, 9)
CHANNELS = (
    "input_channels=[{name: grain_filter, area_px: 60, per: slice}, {name: grain_filter, area_px: 9, per: slice}]"
)
KEEP = PredictOptions(probabilities=True)
NETWORKS = {
    "slices": "{name: unet_bn, widths: [4, 8]}",
    "neighbouring slices": "{name: unet_bn, widths: [4, 8], slices: 3}",
    "volumes": "{name: unet_3d, base: 2, depth: 3, padded: true}",
}


def trained(folder: Path, *changes: str) -> Run:
    recipe = write_discs(folder / "data", epochs=1)
    options = (CHANNELS, "sampling.per_epoch=8", "predict.block_vox=[2, 24, 32]", *changes)
    assert check_recipe(recipe, options)
    return open_run(train(load_recipe(recipe, options), out=folder / "run").path)


def run_of(folder: Path, model: str = NETWORKS["slices"], areas: Sequence[int] = AREAS, **options: object) -> Run:
    """A run that was never trained, with lively weights."""
    shown = ", ".join(f"{{area_px: {area}, per: slice}}" for area in areas)
    run = make_run(folder, model=model, input_channels=f"[{shown}]", **options)  # type: ignore[arg-type]
    if run.recipe.network.ndim == 3:
        network = run.build_network()
        for values in network.parameters():
            values.data.mul_(2.5)
        save_weights(run, network)
    return run


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many slices were filtered in each call that prediction made."""
    real, counts = filtered_slices.filtered_planes, list[int]()

    def watched(grey: np.ndarray, areas_px: Sequence[int], threads: int) -> np.ndarray:
        counts.append(len(grey))
        return real(grey, areas_px, threads)

    monkeypatch.setattr(filtered_slices, "filtered_planes", watched)
    return counts


def filtered(grey: np.ndarray, areas: Sequence[int] = AREAS) -> np.ndarray:
    """(1 + A, Z, Y, X): the image, then each copy of its whole slices."""
    return np.concatenate([grey[None], np.stack([grain_filter(plane, areas) for plane in grey], axis=1)])


def one_pass(run: Run, grey: np.ndarray) -> np.ndarray:
    """Probabilities (K, Z, Y, X) by single forward passes over all there is, filtered slice by slice."""
    shown = run.normalizer.apply(torch.from_numpy(filtered(grey).astype(np.float32)))
    network, slices = run.build_network(), run.recipe.network.in_slices
    with torch.inference_mode():
        if run.recipe.network.ndim == 3:
            return torch.sigmoid(network(shown[None]))[0].numpy()
        index = torch.arange(-(slices // 2), slices // 2 + 1)
        found = []
        for z in range(len(grey)):
            near = (z + index).abs()
            near = torch.where(near >= len(grey), 2 * (len(grey) - 1) - near, near)
            found.append(torch.sigmoid(network(shown[:, near].flatten(0, 1)[None]))[0])
        return torch.stack(found, dim=1).numpy()


def member(run: Run, grey: np.ndarray) -> Member:
    return member_of(run, image_of_array(grey), run.normalizer, Progress())


def in_blocks(predictor: Predictor, grey: np.ndarray, block: tuple[int, int, int]) -> np.ndarray:
    image = image_of_array(grey)
    found = np.empty((predictor.ensemble.channels, *grey.shape), np.float32)
    with predictor.predicting():
        for core in Box.of_shape(grey.shape).blocks(block):
            found[(slice(None), *core.slices)] = predictor.probabilities(image, core).numpy()
    return found


# --- training


def test_training_sees_parts_of_whole_filtered_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`grain_filter(whole slice)[box]`, by the mapping of the image, behind all slices of the image; and so do the
    patches of the validation loss."""
    batches: list[Batch] = []
    ready = module.ready_batch

    def watched(*given: object, **options: bool) -> Batch:
        batches.append(ready(*given, **options))  # type: ignore[arg-type]
        return batches[-1]

    monkeypatch.setattr(module, "ready_batch", watched)
    monkeypatch.setattr("cristae.training.held_out.ready_batch", watched)
    run = trained(tmp_path, "augment=[]", f"model={NETWORKS['neighbouring slices']}")
    grey = np.stack([np.asarray(Picture.open(one)) for one in sorted((tmp_path / "data" / "image").iterdir())])
    shown = run.normalizer.apply(filtered(grey))
    around = run.recipe.network.in_slices // 2
    seen = 0
    for batch in batches:
        assert batch.image.shape[1] == run.recipe.in_channels == 3 * (2 * around + 1)
        for image, box in zip(batch.image, batch.boxes, strict=True):
            near = np.abs(np.arange(box.start[0] - around, box.stop[0] + around))
            near = np.where(near > 9, 18 - near, near)
            expected = shown[:, near][..., box.slices[1], box.slices[2]].reshape(image.shape)
            np.testing.assert_allclose(image, expected, atol=1e-6)
            seen += box.start[0] >= 8
    assert len(batches) > 1
    assert seen > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        (
            "normalize={name: local, reach_vox: 5}",
            "augment=strong",
            "training.validation={name: patches, batches: 2, augment: true}",
        ),
        (f"model={NETWORKS['volumes']}", "sampling.size=[4, 16, 16]", "predict.block_vox=null"),
        ("normalize={name: percentiles, scope: slice}",),
        ("normalize={name: histogram_matching}",),
        ("predict.windows=gaussian",),
        ("data.voxel_size_nm=[50, 20, 20]",),
        ("model={name: unet_valid, base: 4}", "sampling.size=[20, 20]", "predict.block_vox=null"),
    ],
    ids=[
        "local, validated on augmented patches", "volumes", "each slice", "matched", "windows", "working grid",
        "valid convolutions",
    ],
)  # fmt: skip
def test_copies_go_with_the_rest(changes: tuple[str, ...], tmp_path: Path) -> None:
    run = trained(tmp_path, *changes)
    first = next(p for p in run.build_network().parameters() if p.ndim > 3)
    assert first.shape[1] == run.recipe.in_channels == 3
    assert run.locality is not None
    assert run.locality.local
    found = predict([run], cell(textured(), voxel_size_nm=(50, 10, 10)), out=tmp_path / "out.zarr", options=KEEP)
    assert found.probabilities[0].read().std() > 0


def test_all_volumes_that_are_validated_share_a_file(tmp_path: Path) -> None:
    """A folder of single images is as many volumes, and a process may open only so many files."""
    run = run_of(tmp_path)
    volumes = [replace(cell(), name=name) for name in ("a", "b", "c")]
    parts = [Part(volume, Box.of_shape(volume.image.shape)) for volume in volumes]
    locality = member(run, textured()).locality
    validation = plan_validation(run.recipe, parts, run.classes, {}, locality, (32, 32), torch.device("cpu"))
    found = validation.filtered.values()
    assert len(found) == 3
    assert len({one.file for one in found}) == 1


def test_validation_filters_each_slice_once_for_all_epochs_and_is_what_prediction_gives(
    tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a slice is validated in several blocks."""
    slabs: list[PredictedSlab] = []
    real = Validation.predicted

    def watched(self: Validation, network: nn.Module) -> Iterator[PredictedSlab]:
        for slab in real(self, network):
            slabs.append(slab)
            yield slab

    monkeypatch.setattr(Validation, "predicted", watched)
    monkeypatch.setattr("cristae.evaluation.validation._EXACT_2D", (1, 30, 30))
    run = trained(tmp_path, "training.epochs=2")
    assert sum(counted) == len(slabs) == 2
    out = predict([run], tmp_path / "data" / "image", out=tmp_path / "out.zarr", voxel_size_nm=(50, 10, 10))
    for slab in slabs:
        np.testing.assert_array_equal(slab.prediction[0], out.labels[0].read(slab.box))


@pytest.mark.slow
def test_what_is_drawn_of_patches_are_their_grey_values(tmp_path: Path) -> None:
    """As of patches that are filtered by themselves, copies are not drawn."""
    recipe = write_discs(tmp_path / "data")
    for name, changes in (("plain", ()), ("shown", (CHANNELS,))):
        inspect_weights(load_recipe(recipe, ("augment=[{name: flip}]", *changes)), patches=3, out=tmp_path / name)
    for file in ("image.tif", "slice.png"):
        assert (tmp_path / "shown" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()


# --- prediction


@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
def test_blocks_give_what_one_pass_gives(model: str, tmp_path: Path) -> None:
    grey = textured((4, 40, 52))
    run = run_of(tmp_path / "run", model)
    one = member(run, grey)
    assert one.windows is None
    expected = one_pass(run, grey)
    assert expected.std() > 0.01
    for block in ((1, 20, 31), (3, 40, 20), (4, 40, 52)):
        found = in_blocks(Predictor([one]), grey, block)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    turned = replace(one, network_input=replace(one.network_input, areas_px=(9, 60)))
    assert np.abs(in_blocks(Predictor([turned]), grey, block) - found).max() > 1e-3  # copies, and their order, matter


def test_a_prediction_on_disk_is_that_of_one_pass_and_a_box_is_its_crop(tmp_path: Path) -> None:
    run, grey = run_of(tmp_path / "run"), textured()
    whole = predict([run], cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    assert whole.attributes["runs"][0]["grain_filtered_slices_px"] == [60, 9]
    assert whole.attributes["runs"][0]["windows"] is None
    assert np.abs(whole.probabilities[0].read() - 255 * one_pass(run, grey)[0]).max() < 0.51
    box = predict([run], cell(grey), out=tmp_path / "box.zarr", options=KEEP, box="1:3,11:60,7:50")
    np.testing.assert_array_equal(box.labels[0].read(), whole.labels[0].read(box.box))
    assert np.abs(box.probabilities[0].read() - whole.probabilities[0].read(box.box).astype(int)).max() <= 1


@pytest.mark.parametrize(
    "normalizer",
    [
        Normalizer(20.0, 235.0, slices=tuple((10.0 * z, 200.0 + z) for z in range(4))),
        Normalizer(20.0, 235.0, contrast=LocalContrast(6, 0.05)),
        Normalizer(20.0, 235.0, invert=True, clip=None),
    ],
    ids=["of each slice", "local", "inverted"],
)
def test_blocks_agree_under_every_normalisation(normalizer: Normalizer, tmp_path: Path) -> None:
    grey = textured()
    predictor = Predictor([replace(member(run_of(tmp_path / "run"), grey), normalizer=normalizer)])
    whole, blocks = (in_blocks(predictor, grey, block) for block in ((4, 75, 110), (1, 30, 41)))
    np.testing.assert_allclose(blocks, whole, atol=2e-5)  # convolutions of other shapes round otherwise


def test_windows_are_cut_from_whole_filtered_slices(tmp_path: Path) -> None:
    """Tiles that the volume is made of are what the network gives for them."""
    grey, windows = textured((2, 64, 64)), Windows("tiles", (1, 32, 32), 2)
    run = run_of(tmp_path / "run")
    found = in_blocks(Predictor([replace(member(run, grey), windows=windows)]), grey, (2, 64, 40))
    shown = run.normalizer.apply(torch.from_numpy(filtered(grey).astype(np.float32)))
    with torch.inference_mode():
        tile = torch.sigmoid(run.build_network()(shown[None, :, 1, 32:, :32]))[0].numpy()
    np.testing.assert_allclose(found[:, 1, 32:, :32], tile, atol=1e-5)


def test_members_get_the_copies_that_each_was_trained_with(tmp_path: Path) -> None:
    """Some, all in another order, or none."""
    grey = textured()
    runs = [run_of(tmp_path / f"run{n}", areas=areas, seed=n) for n, areas in enumerate([(60, 9), (9, 30), ()])]
    members = [member(run, grey) for run in runs]
    alone = [in_blocks(Predictor([one]), grey, (2, 40, 50)) for one in members]
    together = Predictor(members)
    assert together.areas_px == (60, 9, 30)
    np.testing.assert_allclose(in_blocks(together, grey, (2, 40, 50)), np.mean(alone, axis=0), atol=2e-6)


class Killed(BaseException):
    """Ends a prediction as abruptly as a process can be ended from within."""


def test_a_killed_prediction_continues_exactly_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run", NETWORKS["neighbouring slices"])
    whole = predict([run], cell(), out=tmp_path / "whole.zarr", options=KEEP)
    real, written = PredictionWriter.write, [0]

    def stop(self: PredictionWriter, *given: object) -> None:
        written[0] += 1
        if written[0] > 7:
            raise Killed
        real(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(PredictionWriter, "write", stop)
        with pytest.raises(Killed):
            predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP)
    again = predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP)
    np.testing.assert_array_equal(again.labels[0].read(), whole.labels[0].read())
    np.testing.assert_array_equal(again.probabilities[0].read(), whole.probabilities[0].read())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "run", "whole.zarr"]


def test_an_image_that_changed_elsewhere_in_a_slice_is_another_image(tmp_path: Path) -> None:
    """Its filtered copies are others, too."""
    run = run_of(tmp_path / "run", areas=(3000,))
    grey = np.full((1, 75, 110), 100, np.uint8)
    grey[0, 10:60, 10:60] = 120
    predict([run], cell(grey), out=tmp_path / "out.zarr", box="0:1,20:40,20:40")
    predict([run], cell(grey), out=tmp_path / "out.zarr", box="0:1,20:40,20:40")
    grey[0, 45:60, 10:60] = 100
    grey[0, 59, 10:60] = 120
    with pytest.raises(OutputExistsError, match="other grey values"):
        predict([run], cell(grey), out=tmp_path / "out.zarr", box="0:1,20:40,20:40")


def test_each_slice_is_filtered_once_for_a_volume_in_blocks(tmp_path: Path, counted: list[int]) -> None:
    """Also where blocks reach into the slices of others."""
    run = run_of(tmp_path / "run", NETWORKS["neighbouring slices"], predict="block_vox: [2, 30, 40]")
    predict([run], cell(textured((9, 75, 110))), out=tmp_path / "out.zarr")
    assert sum(counted) == 9


def test_slices_smaller_than_an_area_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    with pytest.raises(VolumeError, match="60 pixels: shapes in a plane of 7 x 8"):
        predict([run], cell(textured((2, 7, 8))), out=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
def test_memory_for_filtering_is_planned(tmp_path: Path) -> None:
    """Blocks become smaller; slices are filtered one by one where memory is scarce; and too little says how much."""
    shape, grey = (4, 3000, 3000), textured()
    one = member(run_of(tmp_path / "run"), grey)
    plain = member(run_of(tmp_path / "plain", areas=()), grey)

    def workload(member: Member) -> plan.Workload:
        ensemble = Predictor([member]).ensemble
        return plan.Workload((member,), ensemble, shape, (1.0, 1.0, 1.0), 1, halves=False, keep_probabilities=False)

    def planned(member: Member, ram: int) -> plan.BlockPlan:
        return plan.plan_memory(workload(member), shape, plan.Budget(ram, None))

    slice_bytes = filtered_slices.bytes_of_slice(shape, 1, 2)
    assert planned(one, 4 << 30).filtered_at_once == filtered_slices.slices_at_once(shape, 1, 2, 1 << 30)
    scarce = planned(one, slice_bytes + (400 << 20))
    assert scarce.filtered_at_once == 1
    assert np.prod(scarce.block) < np.prod(planned(plain, slice_bytes + (400 << 20)).block)
    with pytest.raises(RunError, match="give at least --max-ram"):
        planned(one, slice_bytes)
    assert plan.BlockPlan.from_dict(scarce.to_dict()) == scarce


def test_filtering_takes_as_many_threads_as_were_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[object] = []
    real = job.FilteredSlices.__init__

    def watched(self: filtered_slices.FilteredSlices, *given: object, **options: object) -> None:
        threads.append(options["threads"])
        real(self, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(filtered_slices.FilteredSlices, "__init__", watched)
    monkeypatch.setattr(plan, "slices_at_once", lambda *given: 3)
    predict([run_of(tmp_path / "run")], cell(), out=tmp_path / "out.zarr")
    assert threads == [3]
