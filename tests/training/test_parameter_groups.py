"""Groups of parameters: kinds, patterns, the first match, and what a group does to its parameters."""

from pathlib import Path

import pytest
import torch
from test_fit import Notes, Stopped, same, train_once
from torch import nn

import cristae
from cristae.errors import RecipeError
from cristae.losses import SumLoss
from cristae.models import create_model
from cristae.models.encoder import encoder_stages
from cristae.training.config import TrainingConfig
from cristae.training.epoch_end import Counts
from cristae.training.feed import Worker
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
            ["encodr"],
            r"groups\.0\.match: no parameter is called 'encodr'; it is one of bias, norm, kernel, encoder, or",
        ),
        (["encoder"], r"groups\.0\.match: no part of the network is called an encoder; .* which are conv\.\*, group"),
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


def test_nothing_may_be_frozen_at_first() -> None:
    with pytest.raises(RecipeError, match="every parameter is frozen in the first epoch"):
        group_parameters(Mixed(), [ParameterGroup(match="*", frozen_epochs=2)])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"match": "*", "frozen_epochs": 2, "learning_rate_factor": 0}, "freezes for good"),
        ({"match": "conv.*", "layer_decay": 0.5}, "needs `match: encoder`"),
    ],
)
def test_settings_without_an_effect_are_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ParameterGroup.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"epochs": 4, "swa": {"from_epoch": 5}}, "5 is after the last of 4 epochs"),
        ({"swa": {"from_epoch": 2}, "ema_decay": 0.9}, "so does ema_decay"),
        ({"epochs": 4, "groups": [{"match": "bias", "frozen_epochs": 4}]}, "4 are all of the 4 epochs"),
    ],
)
def test_trainings_that_average_or_learn_nothing_are_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TrainingConfig.model_validate(fields)


ENCODERS = {
    "cdeep3m": 0,
    "deeplab_drn": 2,
    "deeplab_resnet": 2,
    "deeplab_vgg": 8,
    "deepvess": 0,
    "efficient_unet": 10,
    "emnet": 5,
    "fcn8s": 5,
    "hybrid_2d3d": 4,
    "hybrid_2d3d_port": 5,
    "monai_segresnet": 6,
    "monai_swin_unetr": 5,
    "monai_unetpp": 5,
    "resenc_unet": 8,
    "resnet50_unet": 5,
    "resnet_small": 5,
    "seget": 4,
    "segnet": 5,
    "segnet_upsampling": 5,
    "unet_3d": 3,
    "unet_bn": 5,
    "unet_fibsem": 5,
    "unet_stellar": 5,
    "unet_valid": 5,
    "vgg_unet": 5,
}
"""Stages of each network's encoder; 0 where no part of it is one."""


def test_every_network_tells_its_encoder() -> None:
    """Its stages hold all that comes before the coarsest voxels, and nothing of the decoder or the head."""
    found = {}
    for name in sorted({one.name for one in cristae.list_models()}):
        with torch.device("meta"):
            network = create_model(name, in_channels=1, out_channels=1)
        stages = encoder_stages(parameter for parameter, _ in network.named_parameters())
        found[name] = len(stages)
        inside = {parameter for stage in stages.values() for parameter in stage}
        assert not [one for one in inside if any(word in one for word in ("decoder", "head", "ups.", "up_layers"))]
    assert found == ENCODERS


def test_layer_decay_by_hand() -> None:
    """The last of five stages has half the group's rate, the first a 32nd; the decoder has all of it."""
    network = create_model("unet_bn", in_channels=1, out_channels=1, widths=(2, 4, 6, 8, 10))
    group = ParameterGroup(match="encoder", learning_rate_factor=0.8, layer_decay=0.5, frozen_epochs=1)
    *stages, rest = group_parameters(network, [group])
    assert [one.learning_rate_factor for one in stages] == pytest.approx([0.8 / 2**k for k in (5, 4, 3, 2, 1)])
    assert all(name.startswith(f"encoder.{k}.") for k, one in enumerate(stages) for name in one.names)
    assert {one.frozen_epochs for one in stages} == {1}
    assert (rest.learning_rate_factor, rest.frozen_epochs) == (1, 0)
    (whole, _) = group_parameters(network, [ParameterGroup(match="encoder", learning_rate_factor=0)])
    assert set(whole.names) == {name for one in stages for name in one.names}


class Epochs(Notes):
    """Keeps the weights that every epoch ends with."""

    def __init__(self, scores: list[float], *, dies_in: int = -1) -> None:
        super().__init__(scores, dies_in=dies_in)
        self.ends: list[dict[str, torch.Tensor]] = []

    def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        network.eval().train()  # as real validations do
        self.ends.append({name: value.clone() for name, value in network.state_dict().items()})
        return super().validate(network, epoch, worker)


GRADUAL = {"epochs": 3, "learning_rate": 1e-2, "groups": [{"match": "encoder", "frozen_epochs": 2}]}


def test_an_encoder_thaws_in_its_epoch(tmp_path: Path) -> None:
    """Until then its parameters and running statistics are those it began with, to the bit; then all of them move.
    A training that is killed in between ends alike."""
    torch.manual_seed(1)
    before = create_model("unet_bn", in_channels=1, out_channels=1, widths=(4, 8)).state_dict()
    whole = Epochs([0.5, 0.6, 0.7])
    config = TrainingConfig.model_validate(GRADUAL)
    network = train_once(tmp_path / "one", whole, config=config)
    for epoch, end in enumerate(whole.ends):
        for name, value in end.items():
            frozen = epoch < 2 and name.startswith("encoder.")
            assert torch.equal(value, before[name]) == frozen, (epoch, name)
    for dies_in in (1, 2):
        with pytest.raises(Stopped):
            train_once(tmp_path / str(dies_in), Epochs([0.5, 0.6, 0.7], dies_in=dies_in), config=config)
        rest = Epochs([0.5, 0.6, 0.7])
        rest.epoch = dies_in - 1
        assert same(network, train_once(tmp_path / str(dies_in), rest, config=config))


def test_frozen_normalisations_normalise_as_in_prediction(tmp_path: Path) -> None:
    """Those of the encoder stay, statistics and all, where it is frozen for good; those of the decoder follow."""
    groups = [{"match": "encoder", "learning_rate_factor": 0}]
    ends = Epochs([0.5])
    train_once(tmp_path, ends, config=TrainingConfig.model_validate({"epochs": 1, "groups": groups}))
    moved = {name for name, value in ends.ends[0].items() if name.endswith("running_mean") and value.abs().max() > 0}
    assert moved
    assert not [name for name in moved if name.startswith("encoder.")]
