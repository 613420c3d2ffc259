"""Networks of one's own from training to prediction, and what is told when they are not what they say."""

import hashlib
import json
from pathlib import Path

import pytest
from network_data import write_stack

from cristae.data.open import open_volume
from cristae.errors import NetworkError
from cristae.models import ExternalConfig
from cristae.progress import Progress
from cristae.recipe.run import Run
from cristae.workflows.models import describe_model
from cristae.workflows.predict import predict
from cristae.workflows.recipes import check_recipe
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
        patch.setattr("cristae.workflows.train_network.fit", fails)
        with pytest.raises(ZeroDivisionError):
            train(recipe, out=here / "run")
    assert not (here / "run").exists()
    assert train(recipe, out=here / "run").weights_path.is_file()


def test_a_stop_before_the_first_epoch_can_be_gone_on_with(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    recipe = write_stack(here, "binary", "model={name: unet_bn, widths: [4, 8]}", "sampling.size=[16, 16]")
    with monkeypatch.context() as patch:
        patch.setattr("cristae.workflows.train_network.fit", stops)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out=here / "run")
    assert (here / "run" / "recipe.yaml").is_file()
    assert train(recipe, out=here / "run", resume=True).weights_path.is_file()


NETWORKS = """
import torch
from torch import nn
from cristae.models import PlanarConfig


class Base(PlanarConfig):
    total_stride = property(lambda self: (1, 1))
    window = property(lambda self: (24, 24))


class NoPad(Base):
    def build(self, in_channels, out_channels):
        return nn.Conv2d(in_channels, out_channels, 3)


class Picky(nn.Conv2d):
    def forward(self, image):
        if image.shape[-1] == 24:
            raise ValueError("not 24")
        return super().forward(image)


class Late(Base):
    def build(self, in_channels, out_channels):
        return Picky(in_channels, out_channels, 3, padding=1)


class Looking(nn.Conv2d):
    def forward(self, image):
        logits = super().forward(image)
        return logits if logits.mean().item() > 0 else 2 * logits


class Values(Base):
    def build(self, in_channels, out_channels):
        return Looking(in_channels, out_channels, 3, padding=1)


class Nothing(Base):
    def build(self, in_channels, out_channels):
        return nn.Identity()
"""


def test_what_a_network_does_wrong_is_told_by_every_command(here: Path) -> None:
    (here / "networks_with_faults.py").write_text(NETWORKS)
    model = "model={name: external, target: networks_with_faults:NoPad}"
    recipe = write_stack(here, "binary", model)
    message = r"networks_with_faults:NoPad gives 30 x 30 for an image of 32 x 32; pad inside, or say `margin`"
    with pytest.raises(NetworkError, match=message):
        train(recipe, out=here / "run")
    with pytest.raises(NetworkError, match=message):
        check_recipe(here / "recipe.yaml", [model])
    with pytest.raises(NetworkError, match=message):
        describe_model("external", {"target": "networks_with_faults:NoPad"})
    for target, message in (
        ("Late", r"Late fails: .*networks_with_faults\.py:\d+: ValueError: not 24"),
        ("Nothing", "the network has no parameters to train"),
    ):
        other = ExternalConfig(target=f"networks_with_faults:{target}")
        with pytest.raises(NetworkError, match=message):
            train(recipe.model_copy(update={"model": other}), out=here / "run")
    assert not (here / "run").exists()


def test_what_needs_values_cannot_be_shown_and_nothing_can(here: Path) -> None:
    (here / "networks_with_faults_too.py").write_text(NETWORKS)
    message = r"Values cannot be shown, because its code asks for values.*networks_with_faults_too\.py:\d+"
    with pytest.raises(NetworkError, match=message):
        describe_model("external", {"target": "networks_with_faults_too:Values"})
    found = describe_model("external", {"target": "networks_with_faults_too:Nothing"})
    assert (found.facts.parameters, found.facts.gflop) == (0, 0)
    assert [(layer.kind, layer.size) for layer in found.trace.layers] == [("Identity", (24, 24))]
