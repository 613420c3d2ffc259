"""Groups of parameters: kinds, patterns, the first match, and what a group does to its parameters."""

from pathlib import Path

import pytest
import torch
from test_fit import Notes, same, train_once
from torch import nn

from cristae.errors import RecipeError
from cristae.losses import SumLoss
from cristae.models import create_model
from cristae.training.config import TrainingConfig
from cristae.training.parameter_groups import ParameterGroup, Parameters, group_parameters
from cristae.training.schedule import Constant

CDEEP3M = (
    ParameterGroup(match="heads.*.ups.[1-4].bias", learning_rate_factor=2, weight_decay_factor=0),
    ParameterGroup(match="bias", learning_rate_factor=2),
)


class Mixed(nn.Module):
    """One parameter of each sort."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.group = nn.GroupNorm(2, 4)
        self.batch = nn.BatchNorm2d(4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.layer = nn.LayerNorm(4)
        self.slope = nn.PReLU()
        self.attention = nn.MultiheadAttention(4, 2)
        self.up = nn.ConvTranspose3d(1, 1, 2)


def names(groups: tuple[Parameters, ...]) -> list[set[str]]:
    return [set(group.names) for group in groups]


def of_kind(kind: str) -> set[str]:
    return names(group_parameters(Mixed(), [ParameterGroup(match=kind)]))[0]


def test_kinds_go_by_layers() -> None:
    norms = {f"{layer}.{own}" for layer in ("group", "batch", "instance", "layer") for own in ("weight", "bias")}
    assert of_kind("norm") == norms
    assert of_kind("bias") == {"conv.bias", "up.bias", "attention.in_proj_bias", "attention.out_proj.bias"}
    assert of_kind("kernel") == {"conv.weight", "up.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
    everything = {name for name, _ in Mixed().named_parameters()}
    assert everything - of_kind("norm") - of_kind("bias") - of_kind("kernel") == {"slope.weight"}


def test_the_first_match_wins_and_the_rest_comes_last() -> None:
    network = Mixed()
    groups = group_parameters(network, [ParameterGroup(match="conv.*"), ParameterGroup(match="bias")])
    assert names(groups)[0] == {"conv.weight", "conv.bias"}
    assert "conv.bias" not in names(groups)[1]
    values = [id(value) for group in groups for value in group.values]
    assert sorted(values) == sorted(map(id, network.parameters()))
    assert groups[-1].learning_rate_factor == groups[-1].weight_decay_factor == 1
    (alone,) = group_parameters(network, [])
    assert list(alone.values) == list(network.parameters())


def test_cdeep3ms_solver() -> None:
    """EM-stellar, section 3.8: biases at twice the rate, those of dilated transposed convolutions without decay."""
    network = create_model("cdeep3m", in_channels=1, out_channels=2, base=4)
    dilated, biases, rest = group_parameters(network, CDEEP3M)
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.ConvTranspose2d)}
    assert set(dilated.names) == {f"{name}.bias" for name, layer in layers.items() if layer.dilation != (1, 1)}
    assert len(dilated.names) == 12
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(biases.names) == len(convolutions) + 4
    assert not any(name.endswith("bias") and name in biases.names for name in rest.names)
    config = TrainingConfig.model_validate(
        {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 5e-4, "groups": CDEEP3M}
    )
    assert [group.weight_decay_factor * config.weight_decay for group in (dilated, biases, rest)] == [0, 5e-4, 5e-4]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            ["encoder"],
            r"groups\.0\.match: no parameter is called 'encoder'; it is one of bias, norm, kernel, or",
        ),
        (["conv.wieght"], r"names such as conv\.weight"),
        (["bias", "conv.bias"], r"groups\.1\.match: all that 'conv\.bias' matches belongs .* \(bias\).* put it before"),
    ],
)
def test_a_group_without_parameters_is_refused(groups: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        group_parameters(Mixed(), [ParameterGroup(match=match) for match in groups])


def test_a_kind_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="no parameter of kind 'norm'"):
        group_parameters(nn.Conv2d(1, 1, 1), [ParameterGroup(match="norm")])


def test_something_must_learn() -> None:
    with pytest.raises(RecipeError, match="nothing would be learnt"):
        group_parameters(Mixed(), [ParameterGroup(match="*", learning_rate_factor=0)])


def after_a_step(folder: Path, **fields: object) -> tuple[nn.Module, nn.Module]:
    """A small network before and after one update by SGD."""
    before, network = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
    network.load_state_dict(before.state_dict())
    config = {"epochs": 1, "optimizer": {"name": "sgd", "momentum": 0}, "learning_rate": 0.1, "schedule": Constant()}
    loss = SumLoss.model_validate({"terms": [{"name": "binary_cross_entropy"}]})
    parsed = TrainingConfig.model_validate(config | fields)
    train_once(folder, Notes([0.5]), config=parsed, batch_size=12, network=network, loss=loss)
    return before, network


def steps(pair: tuple[nn.Module, nn.Module]) -> tuple[torch.Tensor, torch.Tensor]:
    before, after = (dict(one.named_parameters()) for one in pair)
    return (after["weight"] - before["weight"]).detach(), (after["bias"] - before["bias"]).detach()


def test_factors_reach_the_update(tmp_path: Path) -> None:
    """With SGD a step is -lr (g + decay w)."""
    torch.manual_seed(3)
    plain = after_a_step(tmp_path / "a")
    torch.manual_seed(3)
    groups = [{"match": "bias", "learning_rate_factor": 2, "weight_decay_factor": 0}]
    grouped = after_a_step(tmp_path / "b", groups=groups, weight_decay=0.25)
    assert same(plain[0], grouped[0])
    (kernel, bias), (kernel_2, bias_2) = steps(plain), steps(grouped)
    torch.testing.assert_close(bias_2, 2 * bias)
    torch.testing.assert_close(kernel_2, kernel - 0.1 * 0.25 * plain[0].weight.detach())  # type: ignore[operator]


def test_frozen_parameters_keep_their_values_and_do_not_count_in_the_norm(tmp_path: Path) -> None:
    torch.manual_seed(3)
    frozen = after_a_step(
        tmp_path, groups=[{"match": "kernel", "learning_rate_factor": 0}], gradient_clip=1e-3, weight_decay=0.5
    )
    kernel, bias = steps(frozen)
    assert kernel.abs().max() == 0
    decay = 0.1 * 0.5 * frozen[0].bias.detach()  # type: ignore[operator]
    assert (bias + decay).abs().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)
