"""Bad sections of a volume are told before it is predicted, with the slices that they reach, and can be bridged."""

import json
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run
from scipy import ndimage
from test_predict import Listening, assert_same, decoded

from cristae.data.box import Box
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.data.sections import BadSection
from cristae.errors import OutputExistsError, RunError
from cristae.inference.prediction import open_prediction
from cristae.inference.request import PredictionRequest
from cristae.inference.sections import Bridge, SectionReport, bridged, look_before_predicting
from cristae.progress import Progress
from cristae.report.prediction_page import prediction_page
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part

BRIDGE = "block_vox: [{depth}, 32, 48], bridge: true"


def follows(count: int = 10, seed: int = 0) -> np.ndarray:
    """Sections that follow each other, uint8 (Z, 75, 110)."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(count, 75, 110)), (2, 3, 3))
    return (128 + 50 * field / field.std()).clip(1, 255).astype(np.uint8)


def with_gap(z: int = 4) -> np.ndarray:
    grey = follows()
    grey[z] = 0
    return grey


def warned_of(heard: Listening) -> list[str]:
    return [text for text in heard.warned if "deserve a look" in text]


def test_a_good_volume_is_looked_at_and_nothing_is_said(tmp_path: Path) -> None:
    heard = Listening()
    found = predict([make_run(tmp_path / "run")], cell(follows()), out=tmp_path / "out.zarr", progress=heard)
    assert warned_of(heard) == []
    assert found.attributes["sections"] == {
        "looked_at": 10,
        "part": "0:10,0:75,0:110",
        "bad": [],
        "reach": 0,
        "affected": [],
        "bridged": [],
    }
    assert "Sections that deserve a look" not in prediction_page(found)


def test_a_missing_section_is_told_once_kept_and_shown(tmp_path: Path) -> None:
    run, heard = make_run(tmp_path / "run"), Listening()
    found = predict([run], cell(with_gap()), out=tmp_path / "out.zarr", progress=heard)
    (text,) = warned_of(heard)
    assert text.startswith("sections of 'cell' that deserve a look: 4 (missing); they influence slices 4.")
    assert "predict.bridge: true" in text
    sections = found.attributes["sections"]
    assert sections["bad"] == [{"slice": 4, "kind": "missing", "text": "every voxel is 0"}]
    assert sections["affected"] == [[4, 5]]
    assert "every voxel is 0" in prediction_page(found)
    predict([run], cell(with_gap()), out=tmp_path / "out.zarr", progress=heard)
    assert len(warned_of(heard)) == 1, "a repeated command does not look again"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("{name: unet_3d, base: 2, shape: thick}", {"patch_size": (8, 32, 32)}),
        ("{name: unet_bn, widths: [4, 8], slices: 3}", {}),
    ],
)
def test_networks_that_see_several_slices_carry_it_to_the_neighbours(tmp_path: Path, model: str, options) -> None:
    """The reach is true: nothing outside it changes, and something inside it does."""
    run = make_run(tmp_path / "run", model=model, predict="", **options)
    good, bad = follows(24), follows(24)
    bad[12] = 0
    before = predict([run], cell(good), out=tmp_path / "good.zarr").labels[0].read()
    found = predict([run], cell(bad), out=tmp_path / "bad.zarr")
    ((start, stop),) = found.attributes["sections"]["affected"]
    reach = found.attributes["sections"]["reach"]
    assert (start, stop) == (max(0, 12 - reach), min(24, 13 + reach))
    changed = np.flatnonzero((found.labels[0].read() != before).any((1, 2)))
    assert set(changed.tolist()) <= set(range(start, stop))
    assert {11, 12, 13} & set(changed.tolist())
    assert reach == 1 if "slices: 3" in model else reach > 1


def test_bridging_shows_networks_the_mean_of_the_neighbours(tmp_path: Path) -> None:
    grey = with_gap()
    grey[8:] = 0  # at the end the nearest one is repeated
    by_hand = grey.copy()
    by_hand[4] = np.rint((grey[3].astype(float) + grey[5]) / 2)
    by_hand[8:] = grey[7]
    run, heard = make_run(tmp_path / "run", predict=BRIDGE.format(depth=1)), Listening()
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", progress=heard)
    plain = make_run(tmp_path / "plain")
    expected = predict([plain], cell(by_hand), out=tmp_path / "by_hand.zarr")
    np.testing.assert_array_equal(found.labels[0].read(), expected.labels[0].read())
    assert "Bridged from their neighbours: 4, 8-9" in warned_of(heard)[0]
    assert found.attributes["sections"]["bridged"] == [4, 8, 9]
    assert found.attributes["settings"]["bridges"][0] == {"slice": 4, "before": 3, "after": 5, "share": 0.5}
    assert "Networks saw the mean of good neighbours" in prediction_page(found)


def test_bridges_do_not_depend_on_blocks_boxes_or_processes(tmp_path: Path) -> None:
    write_image(cell(with_gap()).image, tmp_path / "cell.tif")
    model = "{name: unet_bn, widths: [4, 8], slices: 3}"
    runs = {
        depth: make_run(tmp_path / f"run{depth}", predict=BRIDGE.format(depth=depth), model=model) for depth in (1, 7)
    }
    whole = predict([runs[7]], tmp_path / "cell.tif", out=tmp_path / "whole.zarr")
    for run, box in ((runs[1], None), (runs[7], "3:6,10:60,20:100"), (runs[1], "5:6,0:75,0:110")):
        part = predict([run], tmp_path / "cell.tif", out=tmp_path / f"part{run.path.name}{box}.zarr", box=box)
        inside = Box.of_shape(whole.labels[0].shape) if box is None else part.box
        np.testing.assert_array_equal(part.labels[0].read(), whole.labels[0].read(inside))
    request = plan_prediction([runs[7]], tmp_path / "cell.tif", out=tmp_path / "sent.zarr").request
    begin_prediction(request)
    predict_part(PredictionRequest.from_json(request.to_json()), blocks=range(request.block_count))
    finish_prediction(PredictionRequest.from_json(request.to_json()))
    assert_same(tmp_path / "sent.zarr", tmp_path / "whole.zarr")
    again = predict([runs[7]], tmp_path / "cell.tif", out=tmp_path / "whole.zarr")
    assert again.attributes == whole.attributes


def test_a_prediction_without_bridges_is_not_continued_with_them(tmp_path: Path) -> None:
    predict([make_run(tmp_path / "a")], cell(with_gap()), out=tmp_path / "out.zarr")
    other = make_run(tmp_path / "b", predict=BRIDGE.format(depth=1))
    with pytest.raises(OutputExistsError, match=r"settings\.bridges"):
        predict([other], cell(with_gap()), out=tmp_path / "out.zarr")
    with pytest.raises(RunError, match=r"predict\.bridge"):
        predict([make_run(tmp_path / "c"), other], cell(with_gap()), out=tmp_path / "fused.zarr")


def test_predictions_of_earlier_versions_are_finished_still(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    predict([run], cell(with_gap()), out=tmp_path / "out.zarr")
    path = tmp_path / "out.zarr/zarr.json"
    content = json.loads(path.read_text())
    about = content["attributes"]["cristae"]
    del about["sections"], about["settings"]["bridges"]
    path.write_text(json.dumps(content))
    before = decoded(tmp_path / "out.zarr")
    predict([run], cell(with_gap()), out=tmp_path / "out.zarr")
    assert before.keys() == decoded(tmp_path / "out.zarr").keys()
    assert "deserve a look" not in prediction_page(open_prediction(tmp_path / "out.zarr"))


def test_what_is_bridged(tmp_path: Path) -> None:
    grey = follows(30)
    grey[3:8], grey[12:18], grey[22] = 0, 0, np.roll(grey[22], 9, 0)
    found = look_before_predicting(
        image_of_array(grey), "cell", Box.of_shape(grey.shape), bridge=True, progress=Progress()
    )
    assert [one.slice for one in found.bridges] == [3, 4, 5, 6, 7], "neither a longer gap nor a displaced section"
    assert found.bridges[1] == Bridge(4, 2, 8, 2 / 6)
    box = Box((2, 10, 20), (9, 30, 50))
    seen, inside = bridged(image_of_array(grey), found.bridges).read(box), grey[box.slices].astype(float)
    np.testing.assert_array_equal(seen[[0, 6]], grey[[2, 8], 10:30, 20:50])
    np.testing.assert_array_equal(seen[2], np.rint(inside[0] * 4 / 6 + inside[6] * 2 / 6))
    assert (grey[3:8] == 0).all(), "the volume stays as it is"


def test_sections_beyond_the_reach_of_a_box_are_not_told() -> None:
    bad = (BadSection(2, "missing", ""), BadSection(7, "blurred", ""), BadSection(20, "shifted", ""))
    report = SectionReport(12, Box((10, 0, 0), (18, 5, 5)), bad)
    assert report.within_reach(0).bad == ()
    assert [one.slice for one in report.within_reach(3).bad] == [7, 20]
    assert report.within_reach(3).affected() == (10, 17)
    assert report.within_reach(3).warning("cell") == (
        "sections of 'cell' that deserve a look: 7 (blurred), 20 (shifted); they influence slices 10, 17. "
        "`predict.bridge: true` in the run's recipe shows networks their neighbours instead"
    )
