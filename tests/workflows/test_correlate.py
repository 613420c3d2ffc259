"""Features of runs compared, from run folders and images to tables and a page."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prediction_runs import cell, make_run, textured
from typer.testing import CliRunner

import cristae
from cristae import FeatureCorrelation, FeatureOptions
from cristae.cli.main import app
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, MissingFileError, OutputExistsError, RunError, ScoreError, VolumeError
from cristae.inference.feature_maps import FeatureNetwork
from cristae.recipe.run import Run, save_weights
from cristae.report.features_page import read_features

PATCH = (32, 48)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two networks; the second channel of the first one's first convolution repeats the first, the third is dead."""
    folder = tmp_path_factory.mktemp("runs")
    one = make_run(folder / "one", patch_size=PATCH)
    other = make_run(folder / "other", patch_size=PATCH, seed=1, model="{name: seget, base: 4}")
    network = one.build_network()
    with torch.no_grad():
        convolution, norm, _ = network.encoder[0][0]
        for value in (*convolution.parameters(), *norm.parameters(), norm.running_mean, norm.running_var):
            value[1] = value[0]
        norm.weight[2], norm.bias[2] = 0, 1
    save_weights(one, network)
    return [one, other]


@pytest.fixture(scope="module")
def found(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> FeatureCorrelation:
    out = tmp_path_factory.mktemp("correlated") / "features"
    return cristae.correlate(runs, [cell()], out=out, options=FeatureOptions(size=16, places=2))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_planted_channels_are_found(found: FeatureCorrelation) -> None:
    first = rows_of(found.path / "channels.csv")[:4]
    assert [row["layer"] for row in first] == ["encoder.0.0.0"] * 4
    assert [row["constant"] for row in first] == ["0", "0", "1", "0"]
    assert np.allclose([float(row["best_r_in_block"]) for row in first[:2]], 1, atol=1e-5)
    assert first[2]["best_r_in_block"] == ""
    assert sorted(int(row["kept"]) for row in first[:2]) == [0, 1]
    assert found.block_rows()[0]["constant"] >= 1
    assert found.block_rows()[0]["close"] >= 2


def test_tables_and_facts_agree(found: FeatureCorrelation) -> None:
    facts = json.loads((found.path / "features.json").read_text(encoding="utf-8"))
    assert facts == found.to_dict()
    assert facts["pixels"] == 2 * 16 * 16
    assert facts["channels"] == len(rows_of(found.path / "channels.csv")) == found.bounds[-1]
    assert [one["box"] for one in facts["places"]] == ["1:2,21:53,31:79", "3:4,21:53,31:79"]
    assert {name: Path(run).name for name, run in facts["runs"].items()} == {"one": "one", "other": "other"}
    blocks = rows_of(found.path / "blocks.csv")
    assert [(row["network"], row["block"]) for row in blocks][:4] == [
        ("one", "B1"), ("one", "B2"), ("one", "B3"), ("other", "B1"),
    ]  # fmt: skip
    assert len(rows_of(found.path / "pairs.csv")) == len(blocks) * (len(blocks) + 1) / 2
    read = read_features(found.path)
    assert np.array_equal(read.histograms, found.found.histograms)
    assert np.allclose(read.matrix("mean_abs_r"), found.mean_abs(), equal_nan=True)
    assert np.allclose(read.matrix("best_match_of_a_in_b", "best_match_of_b_in_a"), found.best_match(), equal_nan=True)
    assert not np.allclose(found.best_match(), found.best_match().T)


def test_the_page_is_one_file_with_everything(found: FeatureCorrelation) -> None:
    page = (found.path / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert all(one.startswith(("data:", "#")) for one in sources)
    for word in ("Redundancy", "Between blocks", "encoder.0", "other B1", "512 grid cells of 2 slices"):
        assert word in page
    for name in ("distributions", "contours", "between-blocks", "map"):
        assert (found.path / "figures" / f"{name}.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
        assert (found.path / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((found.path / "sheets").iterdir())) == len(found.blocks)


def test_several_images_count_together(runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one image that has the slices of both."""
    monkeypatch.setattr("cristae.workflows.correlate.write_features_page", lambda *_, **__: None)  # it takes time
    grey = textured((2, 64, 70), seed=3)
    options = FeatureOptions(size=8, places=2)
    together = cristae.correlate(runs[:1], [cell(grey)], out=tmp_path / "a", options=options)
    images = [cristae.Volume(f"s{z}", image_of_array(grey[z : z + 1], voxel_size_nm=(40, 10, 10)), None, None, None,
                             (40, 10, 10)) for z in range(2)]  # fmt: skip
    apart = cristae.correlate(runs[:1], images, out=tmp_path / "b", options=FeatureOptions(size=8))
    assert np.allclose(together.found.best, apart.found.best, atol=1e-5, equal_nan=True)
    assert np.array_equal(together.found.pairs, apart.found.pairs)


def test_networks_of_every_form_are_shown_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3D in windows, several slices as channels, a margin; at another voxel size than the image's."""
    monkeypatch.setattr("cristae.workflows.correlate.write_features_page", lambda *_, **__: None)  # it takes time
    deep = make_run(
        tmp_path / "deep",
        model="{name: unet_3d, base: 2, shape: thick}",
        patch_size=(4, 32, 32),
        predict="windows: gaussian",
        scope="volume",
    )
    thick = make_run(tmp_path / "thick", model="{name: unet_bn, widths: [4, 8], slices: 3}", patch_size=(64, 64))
    valid = make_run(tmp_path / "valid", model="{name: unet_valid, base: 4, depth: 3}", patch_size=(36, 36))
    image = cell(voxel_size_nm=(40, 10, 20))
    found = cristae.correlate([deep, thick, valid], [image], out=tmp_path / "out", options=FeatureOptions(size=8))
    assert [dict(place) for place in found.places] == [{"image": "cell", "box": "2:3,21:53,94:126"}]
    assert [sum(one.network == name for one in found.blocks) for name in ("deep", "thick", "valid")] == [5, 3, 5]
    assert found.found.largest_error < 1e-5
    with pytest.raises(RunError, match="deep: is applied in windows of 32 x 32 pixels"):
        cristae.correlate([deep, thick], [image], out=tmp_path / "no", options=FeatureOptions(window=(40, 40)))


@pytest.mark.slow
def test_the_command_prints_blocks_and_json(runs: list[Run], tmp_path: Path) -> None:
    image = tmp_path / "cell.tif"
    cristae.write_image(cell().image, image)
    command = ["correlate", str(image), "--run", str(runs[0].path), "--blocks", "B1,encoder.1", "--size", "8"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "a"), "--json"])
    assert done.exit_code == 0, done.stderr
    assert [row["block"] for row in json.loads(done.stdout)["blocks"]] == ["B1", "B2"]
    done = CliRunner().invoke(app, [*command, "--window", "20", "20", "--out", str(tmp_path / "b")])
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^one B1 \(encoder.0\) +8 ", done.stdout, re.MULTILINE)
    assert done.stdout.rstrip().endswith("report.html")
    again = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "b")])
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (RunError, "no run was given", {"runs": []}),
        (VolumeError, "no image was given", {"images": []}),
        (RunError, "is named twice", {"runs": [0, 0]}),
        (RunError, r"no block 'B7'; blocks of networks are: one B1, encoder.0, B2", {"options": {"blocks": ("B7",)}}),
        (ScoreError, "cell: has 4 slices, of which 5 cannot be looked at", {"options": {"places": 5}}),
        (ScoreError, "a window of 99 x 9 pixels is larger than its slices, 75 x 110", {"options": {"window": (99, 9)}}),
        (RunError, "one window takes .*; make --window smaller", {"options": {"max_ram": "1MiB"}}),
        (VolumeError, "is open already; say `signed`", {"options": {"signed": True}}),
    ],
)
def test_what_cannot_be_compared_is_refused(
    runs: list[Run], tmp_path: Path, error: type[CristaeError], message: str, changes: dict[str, Any]
) -> None:
    chosen = [runs[number] for number in changes.get("runs", [0])]
    options = FeatureOptions(**{"size": 8} | changes.get("options", {}))
    with pytest.raises(error, match=message):
        cristae.correlate(chosen, changes.get("images", [cell()]), out=tmp_path / "out", options=options)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(runs: list[Run], found: FeatureCorrelation) -> None:
    with pytest.raises(OutputExistsError, match="exists already"):
        cristae.correlate(runs, [cell()], out=found.path)


def test_a_killed_comparison_leaves_nothing(runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureNetwork, "collect", stop)
    with pytest.raises(KeyboardInterrupt):
        cristae.correlate(runs, [cell()], out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_damaged_folder_is_told(found: FeatureCorrelation, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no correlations of features"):
        read_features(tmp_path)
    for name in ("features.json", "distributions.csv", "map.npy", "sheets.npz"):
        (tmp_path / name).write_bytes((found.path / name).read_bytes())
    (tmp_path / "sheets.npz").write_bytes(b"PK")
    with pytest.raises(ScoreError, match="are damaged"):
        read_features(tmp_path)
