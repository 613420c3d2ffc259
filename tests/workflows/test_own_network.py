"""Networks of one's own from training to prediction, and what is told when they are not what they say."""

import hashlib
import json
from pathlib import Path

import pytest
from network_data import write_stack

from cristae.data.open import open_volume
from cristae.progress import Progress
from cristae.recipe.run import Run
from cristae.workflows.predict import predict
from cristae.workflows.train import train

OWN_NETWORK = '''\
from typing import ClassVar, Literal

from torch import nn

from cristae.models import NetworkConfig, Reference


class OwnConfig(NetworkConfig):
    """One convolution."""

    reference: ClassVar[Reference] = Reference("us", 2026, "https://example.org")
    name: Literal["own"] = "own"

    @property
    def total_stride(self):
        return (1, 1)

    @property
    def window(self):
        return (24, 24)

    def build(self, in_channels, out_channels):
        return nn.Conv2d(in_channels, out_channels, 3, padding=1)
'''


class Heard(Progress):
    """Remembers the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return tmp_path


def train_own(folder: Path, module: str, code: str = OWN_NETWORK) -> Run:
    (folder / f"{module}.py").write_text(code)
    model = f"model={{name: external, target: {module}:OwnConfig}}"
    return train(write_stack(folder, "binary", model, "training.epochs=1"), out=folder / "run")


def test_it_leaves_the_hash_of_its_code_and_is_warned_about_when_that_changes(here: Path) -> None:
    run = train_own(here, "own_network_that_changes")
    assert run.recipe.sampling.size == (24, 24)
    found = json.loads((run.path / "provenance.json").read_text())["model_source_sha256"]
    assert found == hashlib.sha256(OWN_NETWORK.encode()).hexdigest()
    heard = Heard()
    predict([run], open_volume(here / "stack.tif"), out=here / "same.zarr", progress=heard)
    assert not [one for one in heard.warnings if "changed" in one]
    (here / "own_network_that_changes.py").write_text(OWN_NETWORK + "# more\n")
    predict([run], open_volume(here / "stack.tif"), out=here / "other.zarr", progress=heard)
    (told,) = [one for one in heard.warnings if "has changed since the training" in one]
    assert str(here / "own_network_that_changes.py") in told


def test_what_fails_in_the_first_epoch_leaves_the_place_free(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    recipe = write_stack(here, "binary", "model={name: unet_bn, widths: [4, 8]}", "sampling.size=[16, 16]")
    with monkeypatch.context() as patch:
        patch.setattr("cristae.workflows.network_training.fit", fails)
        with pytest.raises(ZeroDivisionError):
            train(recipe, out=here / "run")
    assert not (here / "run").exists()
    assert train(recipe, out=here / "run").weights_path.is_file()


def test_a_stop_before_the_first_epoch_can_be_gone_on_with(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    recipe = write_stack(here, "binary", "model={name: unet_bn, widths: [4, 8]}", "sampling.size=[16, 16]")
    with monkeypatch.context() as patch:
        patch.setattr("cristae.workflows.network_training.fit", stops)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out=here / "run")
    assert (here / "run" / "cache").is_dir()
    assert train(recipe, out=here / "run", resume=True).weights_path.is_file()
