"""The demo goes the whole way, resumes when repeated, and touches nothing that is not its own."""

from pathlib import Path

import pytest

from cristae.data.synthetic import SyntheticConfig
from cristae.errors import OutputExistsError
from cristae.workflows import demo as module
from cristae.workflows.demo import demo, recipe_text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo on volumes and a network of a few seconds; cells of 20 nm voxels put every class in the frame."""
    size = (40.0, 20.0, 20.0)
    monkeypatch.setattr(module, "TRAINING", SyntheticConfig(shape=(24, 256, 256), voxel_size_nm=size, seed=1))
    monkeypatch.setattr(module, "NEW", SyntheticConfig(shape=(2, 96, 96), voxel_size_nm=size, seed=2))
    text = recipe_text()
    for old, new in (
        ("epochs: 14", "epochs: 1"),
        ("per_epoch: 256", "per_epoch: 16"),
        ("size: [128, 128]", "size: [64, 64]"),
        ("widths: [16, 32, 64, 128]", "widths: [4, 8]"),
    ):
        assert old in text
        text = text.replace(old, new)
    monkeypatch.setattr(module, "recipe_text", lambda: text)


@pytest.mark.usefixtures("small")
def test_the_demo_goes_the_whole_way_and_goes_on_when_repeated(tmp_path: Path) -> None:
    done = demo(tmp_path / "demo")
    assert done.page.stat().st_size > 10_000
    assert done.prediction.labels[0].shape == (2, 96, 96)
    words = str(done)
    for verb in ("train", "predict", "evaluate", "report"):
        assert f"cristae {verb} " in words
    assert str(done.page.absolute()) in words
    written = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path.suffix == ".safetensors"
    }
    again = demo(tmp_path / "demo")
    assert [score.value for score in again.scores if score.metric == "mIoU"] == [
        score.value for score in done.scores if score.metric == "mIoU"
    ]
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize("content", ["notes.txt", "recipe.yaml"])
def test_the_demo_leaves_other_folders_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("mine")
    with pytest.raises(OutputExistsError, match="did not make"):
        demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [content]
    assert (tmp_path / content).read_text() == "mine"
    with pytest.raises(OutputExistsError, match="is a file"):
        demo(tmp_path / content)
