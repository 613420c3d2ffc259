"""Several runs as one prediction: the rule of their recipes, and what each of them has for itself."""

from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run, one_pass, textured
from test_predict import KEEP, ORGANELLES, Killed, stop_after

from cristae.errors import OutputExistsError, RunError
from cristae.workflows.predict import predict

BLOCKS = "block_vox: [1, 32, 48]"


def make_runs(folder: Path, predict: str, *, count: int = 3, **more) -> list:
    return [make_run(folder / f"run{n}", seed=n, predict=predict, **more) for n in range(count)]


def test_votes_of_three_runs(tmp_path):
    runs, grey = make_runs(tmp_path, f"{BLOCKS}, fusion: {{name: majority}}, threshold: 0.4"), textured()
    found = predict(runs, cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    each = np.stack([one_pass(run, grey)[0].numpy() for run in runs])
    sure = (np.abs(each - 0.4) > 1e-4).all(0)
    votes = (each > 0.4).sum(0)
    labels = found.labels[0].read()
    assert (votes == 2).mean() > 0.05, "the rule must matter"
    np.testing.assert_array_equal(labels[sure], (votes >= 2)[sure])
    np.testing.assert_array_equal(found.probabilities[0].read()[sure], np.rint(votes * 85)[sure])
    assert found.attributes["settings"]["fusion"] == {"name": "majority"}


def test_weights_of_two_runs(tmp_path):
    settings = f"{BLOCKS}, fusion: {{name: weighted, weights: [1, 3]}}"
    runs, grey = make_runs(tmp_path, settings, count=2, classes=ORGANELLES), textured()
    found = predict(runs, cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    expected = (one_pass(runs[0], grey) + 3 * one_pass(runs[1], grey)).numpy() / 4
    kept = np.stack([image.read() for image in found.probabilities])
    assert np.abs(kept - 255 * expected).max() < 0.51
    with pytest.raises(RunError, match=r"predict\.fusion\.weights: there are 2 weights for 1 run"):
        predict(runs[:1], cell(grey), out=tmp_path / "one.zarr")
    assert not (tmp_path / "one.zarr").exists()


@pytest.mark.parametrize("changed", ["fusion: {name: majority}", "threshold: 0.3", "precision: bf16"])
def test_what_the_ensemble_shares_must_agree(tmp_path, changed):
    runs = [make_run(tmp_path / "one"), make_run(tmp_path / "other", predict=f"{BLOCKS}, {changed}")]
    what = rf"other: cannot be fused with \S+one: their recipes differ in predict\.{changed.split(':')[0]};"
    with pytest.raises(RunError, match=what):
        predict(runs, cell(), out=tmp_path / "out.zarr")


def test_windows_and_blocks_are_each_members_own(tmp_path):
    grey = textured()
    exact = make_run(tmp_path / "exact", predict="block_vox: [2, 32, 64]")
    windowed = make_run(tmp_path / "windowed", seed=1, predict="block_vox: [4, 64, 48], windows: tiles")
    free = make_run(tmp_path / "free", seed=2, predict="threshold: 0.5")
    runs = [exact, windowed, free]
    found = predict(runs, cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    assert found.attributes["plan"]["block"] == [2, 32, 48]
    assert [run["windows"] and run["windows"]["rule"] for run in found.attributes["runs"]] == [None, "tiles", None]
    alone = predict([windowed], cell(grey), out=tmp_path / "alone.zarr", options=KEEP).probabilities[0].read()
    expected = (255 * (one_pass(exact, grey) + one_pass(free, grey))[0].numpy() + alone) / 3
    assert np.abs(found.probabilities[0].read() - expected).max() < 0.7  # 0.5 of the result, 0.5 / 3 of `alone`


def test_a_changed_rule_is_not_mixed_in(tmp_path, monkeypatch):
    runs, out = make_runs(tmp_path, BLOCKS), tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(Killed):
            predict(runs, cell(), out=out)
    for run in runs:
        recipe = run.path / "recipe.yaml"
        text = recipe.read_text().replace("name: average", "name: majority")
        assert text != recipe.read_text()
        recipe.write_text(text)
    with pytest.raises(OutputExistsError, match=r"settings\.fusion\.name: average before, majority now"):
        predict([run.path for run in runs], cell(), out=out)
