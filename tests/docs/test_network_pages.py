"""The pages about networks: what they say is run."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_documentation import ROOT, blocks, run_line
from torch import nn

import cristae
from cristae.data.files import write_text
from cristae.models.pretrained import load_matching


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a labelled stack and a recipe for it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    volume = cristae.synthetic_volume(cristae.SyntheticConfig(shape=(12, 96, 96), seed=3))
    cell = volume.labels[0].map(lambda ids: (ids == 1).astype(np.uint8), np.dtype(np.uint8))
    cristae.write_image(volume.image, Path("stack.tif"))
    cristae.write_image(cell, Path("labels.tif"))
    cristae.write_image(volume.image, Path("cell.mrc"))
    run_line("cristae recipe new --image stack.tif --labels labels.tif --out mito.yaml")
    return tmp_path


def with_model(recipe: str, model: str) -> str:
    text, changed = re.subn(r"(?m)^model:\n(  .*\n)+", f"{model}\n", recipe)
    assert changed == 1
    return text


def test_adding_a_network(stacks: Path) -> None:
    page = ROOT / "docs" / "how-to" / "add-a-network.md"
    module, forward, _ = blocks(page, "python")
    assert len(module.splitlines()) <= 36
    Path("my_net.py").write_text(module)
    (inline,) = re.findall(r"`(model: \{name: external.*?\})`", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    write_text(Path("mito.yaml"), with_model(Path("mito.yaml").read_text(), " ".join(inline.split())))
    show, train = blocks(page, "sh")
    assert "receptive field     63x63 voxels" in run_line(show)
    for line in train.splitlines():
        run_line(line)
    assert cristae.open_prediction("cell.zarr").labels[0].shape == (12, 96, 96)
    assert "depth: 5" in Path("runs/mito/recipe.yaml").read_text()

    names: dict[str, Any] = {}
    exec(forward, names)
    network = type("Pooled", (nn.Module,), {"forward": names["forward"], "in_channels": 1})()
    network.layers = nn.Sequential(nn.AvgPool2d(8), nn.Upsample(scale_factor=8.0))
    assert network(torch.rand(1, 1, 13, 9)).shape == (1, 1, 13, 9)


def test_a_3d_network_is_added_in_the_same_way(stacks: Path) -> None:
    _, _, module = blocks(ROOT / "docs" / "how-to" / "add-a-network.md", "python")
    Path("thick_net.py").write_text(module)
    shown = run_line("cristae models show external --set target=thick_net:ThickConfig --size 3 13 9")
    assert "3x13x9" in shown
    assert "total stride        1x2x2" in shown
    assert "exact in blocks" in shown
    model = "model: {name: external, target: 'thick_net:ThickConfig', options: {width: 2}}"
    write_text(Path("mito.yaml"), with_model(Path("mito.yaml").read_text(), model))
    run_line("cristae recipe check mito.yaml --set 'sampling.size=[4, 32, 32]'")
    recipe = cristae.load_recipe("mito.yaml", ["sampling.size=[4, 32, 32]"])
    assert recipe.network.build(1, 1)(torch.zeros(1, 1, 4, 9, 7)).shape == (1, 1, 4, 9, 7)


def test_starting_from_weights(stacks: Path) -> None:
    page = ROOT / "docs" / "how-to" / "start-from-weights.md"
    recipe = with_model(Path("mito.yaml").read_text(), "model: {name: unet_bn, widths: [4, 8]}")
    Path("mito.yaml").write_text(recipe)
    Path("er.yaml").write_text(recipe.replace("widths: [4, 8]", "widths: [4, 8, 16]"))
    run_line("cristae train mito.yaml --out runs/mito")
    (line,) = blocks(page, "sh")
    run_line(line)
    shown = json.loads(Path("runs/er/summary.json").read_text())["start_from"]
    assert shown["matched"]
    assert shown["missing"]

    network = cristae.create_model("unet_bn", in_channels=1, out_channels=1)
    torch.save({f"model.{name}": tensor for name, tensor in network.state_dict().items()}, "published.pt")
    (code,) = blocks(page, "python")
    exec(code, {})
    assert load_matching(network, Path("published.safetensors")).parameter_share == 1


@pytest.mark.slow
@pytest.mark.slow
def test_training_a_forest(stacks: Path) -> None:
    page = ROOT / "docs" / "how-to" / "train-a-forest.md"
    (settings,) = blocks(page, "yaml")
    Path("few.yaml").write_text(with_model(Path("mito.yaml").read_text(), settings.strip()))
    (lines,) = blocks(page, "sh")
    for line in lines.splitlines():
        run_line(line)
    assert cristae.open_prediction("cell.zarr").labels[0].shape == (12, 96, 96)
    run_line("cristae train few.yaml --out runs/few")
    features = cristae.load_recipe("runs/few/recipe.yaml").model.features
    assert (features.gaussian, features.gradient) == ((1, 3), ())
