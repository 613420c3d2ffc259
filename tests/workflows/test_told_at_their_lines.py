"""What `train` and `recipe check` refuse is told at the line of the recipe that it is about."""

from pathlib import Path

import pytest
from training_data import write_discs

from cristae.errors import CristaeError
from cristae.recipe.load import load_recipe
from cristae.workflows.train import train


@pytest.mark.parametrize(
    ("old", "new", "place", "expected"),
    [
        ("per_epoch: 24", "per_epoch: 7", "training:", "an epoch has only 7 patches"),
        ("{name: flip}", "{name: shift, amount: 90, unit: voxels}", "augment:", "augment: patches of"),
        ("stack, slices: 0:6", "stak, slices: 0:6", "  train:", "data.train.0: there is no volume 'stak'"),
        ("[{volume: stack, slices: 8:10}]", "[]", "  validate:", "data.validate: is empty"),
        ("[4, 8, 16]", "[4, 8, 100000000]", "model:", "model: the network cannot be built"),
        ("  volumes:", "  volumes:\n    - {name: stack, image: image}", "  volumes:", "data.volumes: two volumes are"),
        ("epochs: 1", "groups: [{match: none}], epochs: 1", "training:", "training.groups.0.match: "),
    ],
)
def test_refusals_have_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, place: str, expected: str
) -> None:
    path = write_discs(tmp_path, epochs=1)
    path.write_text(path.read_text().replace(old, new, 1))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CristaeError) as refused:
        train(load_recipe("recipe.yaml"))
    number = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if text.startswith(place))
    assert str(refused.value).startswith(f"recipe.yaml:{number}: {expected}")
