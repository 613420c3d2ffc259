"""Compiled steps: the same weights under the same names, and a clear word where nothing compiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fit import Notes, same, train_once

from cristae.errors import RunError
from cristae.models import create_model
from cristae.training.compilation import require_compiler
from cristae.training.config import TrainingConfig

SCORES = [0.5, 0.6]


@pytest.mark.slow
@pytest.mark.parametrize(
    "further", [pytest.param({}, marks=pytest.mark.slow), {"precision": "bf16", "ema_decay": 0.9, "nonfinite": "skip"}]
)
def test_a_traced_training_gives_the_same_weights_under_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, further: dict[str, Any]
) -> None:
    """Traced as for a compiler, but not compiled: quick, and exact to the bit."""
    compile_, asked = torch.compile, []

    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        asked.append(function)
        return compile_(function, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    config = TrainingConfig(epochs=2, **further)
    plain = train_once(tmp_path / "a", Notes(SCORES), config=config)
    assert not asked
    network = train_once(tmp_path / "b", Notes(SCORES), config=config.model_copy(update={"compile": True}))
    assert len(asked) == 1
    assert same(plain, network)
    names = create_model("unet_bn", in_channels=1, out_channels=1, widths=(4, 8)).state_dict().keys()
    assert network.state_dict().keys() == names
    checkpoint = torch.load(tmp_path / "b" / "last.ckpt", weights_only=True)
    assert {name.removeprefix("network.") for name in checkpoint["state_dict"]} == set(names)
    if "ema_decay" in further:
        averages = [
            torch.load(tmp_path / run / "last.ckpt", weights_only=True)["callbacks"]["AveragedWeights"]["network"]
            for run in ("a", "b")
        ]
        assert all(torch.equal(averages[0][name], averages[1][name]) for name in names)


@pytest.mark.slow
def test_a_compiled_training_is_an_ordinary_one_to_rounding(tmp_path: Path) -> None:
    require_compiler(torch.device("cpu"))
    config = TrainingConfig(epochs=2, learning_rate=1e-4, ema_decay=0.9)
    plain = train_once(tmp_path / "a", Notes(SCORES), config=config)
    network = train_once(tmp_path / "b", Notes(SCORES), config=config.model_copy(update={"compile": True}))
    for one, two in zip(plain.state_dict().values(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-2, atol=1e-4)


def test_where_nothing_compiles_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(values: object) -> None:
            raise RuntimeError("no C++ compiler\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", refuses)
    message = r"cannot compile for 'cpu' here \(RuntimeError: no C\+\+ compiler\); .* set training\.compile: false"
    with pytest.raises(RunError, match=message):
        require_compiler(torch.device("cpu"))
