"""Out-of-fold prediction against a composition, by hand, of predictions by single members."""

from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run, textured
from test_predict import KEEP, Killed, Listening, assert_same, stop_after
from test_predict_ensemble import BLOCKS, SHAPE, THREE, kept, make_members

import cristae
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import OutputExistsError, RunError
from cristae.inference.config import PredictOptions
from cristae.recipe.ensemble_file import open_ensemble, write_ensemble
from cristae.recipe.run import Run
from cristae.workflows.predict import predict

HELD_OUT = ["0:2,:,:", "2:4,0:20,7:61", "1:3,30:45,10:50"]
"""Of three members; slice 1 has a part that the first and third have held out, slice 4 has none."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study beside its data, whose members held out different parts of the volume."""
    folder = tmp_path_factory.mktemp("held_out")
    cristae.write_image(cell(textured(SHAPE)).image, folder / "cell.tif")
    members = make_members(folder / "study", THREE)
    held = [[("../cell.tif", box)] for box in HELD_OUT]
    write_ensemble(folder / "study" / "ensemble.yaml", members, held_out=held)
    return folder


@pytest.fixture(scope="module")
def composed(folder: Path) -> np.ndarray:
    """The labels that each set of members predicts, put together voxel by voxel."""
    runs = [member.run for member in open_ensemble(folder / "study").members]
    inside = [np.zeros(SHAPE, bool) for _ in runs]
    for mask, text in zip(inside, HELD_OUT, strict=True):
        mask[Box.parse(text, SHAPE).slices] = True
    sets: dict[tuple[bool, ...], np.ndarray] = {}
    labels = np.full(SHAPE, 255, np.uint8)
    for who in {tuple(map(bool, at)) for at in np.stack(inside, -1).reshape(-1, len(runs))}:
        chosen = [run for run, one in zip(runs, who, strict=True) if one or not any(who)]
        out = folder / f"by-{''.join(str(int(one)) for one in who)}.zarr"
        sets[who] = predict(chosen, folder / "cell.tif", out=out).labels[0].read()
        here = np.all(np.stack(inside, -1) == who, axis=-1)
        labels[here] = sets[who][here]
    assert len(sets) == 5
    assert all((labels != one).any() for one in sets.values())
    return labels


def test_voxels_are_predicted_by_those_that_have_not_seen_them(
    folder: Path, tmp_path: Path, composed: np.ndarray
) -> None:
    """The labels are those of a composition of single predictions, byte for byte, in blocks that cut the boxes."""
    found = predict([f"{folder / 'study'}:out-of-fold"], folder / "cell.tif", out=tmp_path / "out.zarr")
    np.testing.assert_array_equal(found.labels[0].read(), composed)
    boxes = [run["held_out"] for run in found.attributes["runs"]]
    assert boxes == [["0:2,0:45,0:61"], ["2:4,0:20,7:61"], ["1:3,30:45,10:50"]]


@pytest.mark.slow
def test_a_part_of_it_and_a_killed_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composed: np.ndarray
) -> None:
    study, how = f"{folder / 'study'}:out-of-fold", {"box": "0:4,3:35,5:53", "options": KEEP}
    whole = predict([study], folder / "cell.tif", out=tmp_path / "whole.zarr", **how)
    np.testing.assert_array_equal(whole.labels[0].read(), composed[whole.box.slices])
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Killed):
            predict([study], folder / "cell.tif", out=tmp_path / "out.zarr", **how)
    with pytest.raises(OutputExistsError, match=r"runs\.0\.held_out"):
        predict([folder / "study"], folder / "cell.tif", out=tmp_path / "out.zarr", **how)
    predict([study], folder / "cell.tif", out=tmp_path / "out.zarr", **how)
    assert_same(tmp_path / "whole.zarr", tmp_path / "out.zarr")


def test_what_all_members_predict_is_said(folder: Path, tmp_path: Path) -> None:
    """Slice 4 is held out by none; slices 0 and 1 wholly by the first, the third's part among them counts once."""
    study = f"{folder / 'study'}:out-of-fold"
    for box, share in (("0:2,0:45,0:61", None), ("0:5,0:20,7:61", "80 %")):
        said = Listening()
        predict([study], folder / "cell.tif", out=tmp_path / f"{share}.zarr", box=box, progress=said)
        lines = [line for line in said.said if "no member has held out" in line]
        assert [f"{share} of the voxels are predicted out-of-fold" in line for line in lines] == [True] * bool(share)


def test_the_image_is_known_by_its_file(folder: Path, tmp_path: Path) -> None:
    """Through a link, as an open volume, and not by its name; a copy elsewhere is another image."""
    study, part = f"{folder / 'study'}:out-of-fold", "0:1,0:16,0:24"
    (tmp_path / "link.tif").symlink_to(folder / "cell.tif")
    linked = predict([study], tmp_path / "link.tif", out=tmp_path / "link.zarr", box=part)
    opened = predict([study], cristae.open_volume(folder / "cell.tif"), out=tmp_path / "open.zarr", box=part)
    np.testing.assert_array_equal(linked.labels[0].read(), opened.labels[0].read())
    (tmp_path / "cell.tif").write_bytes((folder / "cell.tif").read_bytes())
    for volume in (tmp_path / "cell.tif", cell(textured(SHAPE))):
        what = r"cannot be predicted out-of-fold, because .*ensemble\.yaml .*it knows .*cell\.tif"
        with pytest.raises(RunError, match=what):
            predict([study], volume, out=tmp_path / "copy.zarr", box=part)
    assert not (tmp_path / "copy.zarr").exists()


def test_a_box_without_anything_held_out_is_refused(folder: Path, tmp_path: Path) -> None:
    study = f"{folder / 'study'}:out-of-fold"
    with pytest.raises(RunError, match=r"has held out nothing of the box 4:5,0:16,0:24, but 0:2,0:45,0:61"):
        predict([study], folder / "cell.tif", out=tmp_path / "out.zarr", box="4:5,0:16,0:24")


def test_a_plain_ensemble_warns_on_what_its_members_were_trained_on(folder: Path, tmp_path: Path) -> None:
    """Not on another image, nor on slice 4, which none has held out, nor where all have held out the same."""
    study, members = folder / "study", [member.run for member in open_ensemble(folder / "study").members]
    test = [[(folder / "cell.tif", "0:1,:,:")]] * 3
    fair = write_ensemble(tmp_path / "fair.yaml", members, held_out=test)
    cases = [
        (study, folder / "cell.tif", "0:1,0:16,0:24", True),
        (study, folder / "cell.tif", "4:5,0:16,0:24", False),
        (study, cell(textured(SHAPE)), "0:1,0:16,0:24", False),
        (fair, folder / "cell.tif", "0:1,0:16,0:24", False),
    ]
    for number, (ensemble, volume, box, warns) in enumerate(cases):
        said = Listening()
        predict([ensemble], volume, out=tmp_path / f"{number}.zarr", box=box, progress=said)
        found = [line for line in said.warned if "were trained on parts of this image" in line]
        assert bool(found) == warns, number
        assert all(f"{study / 'ensemble.yaml'}:out-of-fold" in line for line in found)


def test_boxes_that_do_not_fit_the_image_are_told_at_their_line(folder: Path, tmp_path: Path) -> None:
    run = open_ensemble(folder / "study").members[0].run
    file = write_ensemble(tmp_path / "bad.yaml", [run], held_out=[[(folder / "cell.tif", "0:9,:,:")]])
    with pytest.raises(RunError, match=r"bad\.yaml:6: '0:9,:,:': 0:9 is empty or outside the 5 voxels of axis z"):
        predict([f"{file}:out-of-fold"], folder / "cell.tif", out=tmp_path / "out.zarr")


def test_the_array_inside_a_file_counts(folder: Path, tmp_path: Path) -> None:
    """An array that is named and the only one there are the same; another array of the file is not."""
    import h5py

    run, grey = open_ensemble(folder / "study").members[0].run, textured(SHAPE)
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file["raw"], file["other"] = grey, grey[:, ::-1]
    written = write_ensemble(tmp_path / "one.yaml", [run], held_out=[[("cell.h5:/raw", "0:1,:,:")]])
    study, how = f"{written}:out-of-fold", {"box": "0:1,0:16,0:24", "voxel_size_nm": (40.0, 10.0, 10.0)}
    found = predict([study], f"{tmp_path / 'cell.h5'}:raw", out=tmp_path / "a.zarr", **how)
    assert found.attributes["runs"][0]["held_out"] == ["0:1,0:45,0:61"]
    with pytest.raises(RunError, match=r"cannot be predicted out-of-fold"):
        predict([study], f"{tmp_path / 'cell.h5'}:other", out=tmp_path / "b.zarr", **how)


def pair(folder: Path, classes: Classes, seed: int) -> list[Run]:
    name = classes.names[1]
    return [make_run(folder / f"{name}-{n}", classes=classes, seed=seed + n, predict=BLOCKS) for n in (0, 1)]


def test_each_of_several_structures_has_its_own_members(folder: Path, tmp_path: Path) -> None:
    """Binary runs of two structures: in each, those that have held the voxel out, or else all."""
    mito, granule = (Classes(names=("background", name)) for name in ("mito", "granule"))
    runs = [*pair(tmp_path, mito, 0), *pair(tmp_path, granule, 5)]
    half = [[(folder / "cell.tif", "0:1,:,:")], [(folder / "cell.tif", "1:2,:,:")]]
    file = write_ensemble(tmp_path / "all.yaml", runs, held_out=[*half, [], []])
    how = {"box": "0:3,0:32,0:24", "options": KEEP}
    found = kept(predict([f"{file}:out-of-fold"], folder / "cell.tif", out=tmp_path / "out.zarr", **how))
    parts = {"0": [runs[0], *runs[2:]], "1": [runs[1], *runs[2:]], "2": runs}
    for z, (name, chosen) in enumerate(parts.items()):
        one = kept(predict(chosen, folder / "cell.tif", out=tmp_path / f"{name}.zarr", **how))
        np.testing.assert_array_equal(found[:, z], one[:, z])


def test_disagreement_needs_two_members_everywhere(folder: Path, tmp_path: Path) -> None:
    """Two members that have held out the same disagree; a single one is refused, with its voxels."""
    options, volume = PredictOptions(disagreement=True), folder / "cell.tif"
    with pytest.raises(RunError, match=r"voxels 0:1,0:45,0:61 are predicted out of fold by one run for each class"):
        predict([f"{folder / 'study'}:out-of-fold"], volume, out=tmp_path / "out.zarr", options=options)
    runs = [member.run for member in open_ensemble(folder / "study").members]
    same = [[(volume, "0:1,:,:")], [(volume, "0:1,:,:")], [(volume, "1:5,:,:")]]
    file = write_ensemble(tmp_path / "same.yaml", runs, held_out=same)
    how = {"box": "0:1,0:32,0:24", "options": options}
    found = predict([f"{file}:out-of-fold"], volume, out=tmp_path / "two.zarr", **how)
    pair = predict(runs[:2], volume, out=tmp_path / "pair.zarr", **how)
    np.testing.assert_array_equal(found.disagreement.read(), pair.disagreement.read())


@pytest.mark.slow
def test_on_a_resampled_volume(tmp_path: Path) -> None:
    """Boxes are in voxels of the image file, whatever the networks work at."""
    coarse = (40.0, 20.0, 20.0)
    cristae.write_image(cell(textured((3, 40, 40)), voxel_size_nm=coarse).image, tmp_path / "cell.tif")
    runs = [make_run(tmp_path / f"run{n}", seed=n, predict=BLOCKS) for n in range(2)]
    held = [[("cell.tif", "0:2,:,:")], [("cell.tif", "2:3,0:23,:")]]
    file = write_ensemble(tmp_path / "both.yaml", runs, held_out=held)
    found = kept(predict([f"{file}:out-of-fold"], tmp_path / "cell.tif", out=tmp_path / "out.zarr", options=KEEP))
    first, second, both = (
        kept(predict(some, tmp_path / "cell.tif", out=tmp_path / f"{n}.zarr", options=KEEP))
        for n, some in enumerate((runs[:1], runs[1:], runs))
    )
    expected = both.copy()
    expected[:, :2], expected[:, 2, :23] = first[:, :2], second[:, 2, :23]
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != both).mean() > 0.3
