"""How a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cristae.config import Config, without
from cristae.training.optimizers import Adam, Optimizer
from cristae.training.parameter_groups import ParameterGroup
from cristae.training.schedule import Fraction, KerasDecay, LearningRate, Schedule
from cristae.training.stopping import GiveUp
from cristae.training.tracking import TrackerName
from cristae.training.validation_config import Criteria, ValidationConfig, WholeValidation

_LATER: Mapping[str, Any] = {"swa": None, "track": ()}
_LATER_OF_GROUPS: Mapping[str, Any] = {"frozen_epochs": 0, "layer_decay": 1.0}


def without_later_fields(training: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped `training` section without the fields that later versions have added, where these have no effect, so
    that what is made of the section is what earlier versions made.

    Example:
        >>> without_later_fields({"epochs": 3, "swa": None, "groups": [{"match": "bias", "frozen_epochs": 0}]})
        {'epochs': 3, 'groups': [{'match': 'bias'}]}
    """
    groups = [without(group, _LATER_OF_GROUPS) for group in training.get("groups", ())]
    return {**without(training, _LATER), **({"groups": groups} if "groups" in training else {})}


class EpochAveraging(Config):
    """Stochastic weight averaging (Izmailov et al. 2018), https://arxiv.org/abs/1803.05407."""

    from_epoch: PositiveInt
    """The first epoch, counted from 1, whose last weights enter the average; three quarters into the training in the
    paper, with a constant or cyclic learning rate from there on."""


class TrainingConfig(Config):
    """Optimiser, schedule, length and precision."""

    epochs: PositiveInt = 30
    """At most this many epochs."""
    batch_size: PositiveInt = 8
    """Patches in one batch, over all devices together."""
    accumulate: PositiveInt = 1
    """Batches in one update, whose gradients are averaged; an epoch leaves out batches that do not fill one."""
    optimizer: Optimizer = Adam()
    """How gradients become updates; a name alone, such as `radam`, takes its defaults."""
    learning_rate: PositiveFloat = 1e-3
    """The learning rate that the schedule begins with, after its warm-up."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of `adamw` and `radam`, L2 of `sgd`; `adam` has none."""
    groups: tuple[ParameterGroup, ...] = ()
    """Parameters with a learning rate or weight decay of their own; the first that a parameter matches counts."""
    schedule: Schedule = KerasDecay()
    """How the learning rate changes."""
    early_stop_patience: PositiveInt | None = None
    """Stop after this many epochs without a better one, by the first of `criteria`; null trains all epochs."""
    give_up: GiveUp | None = None
    """Stop a training whose validation mIoU stays low; null never does."""
    gradient_clip: PositiveFloat | None = None
    """Clip the norm of an update's gradient to this; null does not clip."""
    ema_decay: Fraction | None = None
    """Validate, keep and use an average of the weights, of which each update keeps this share, such as 0.999; null
    uses the weights themselves."""
    swa: EpochAveraging | None = None
    """Validate, keep and use the plain average of the weights that epochs end with, from one on, such as
    `{from_epoch: 23}`; before it, and where null, the weights themselves. Running statistics of batch normalisation
    are estimated for the average on training patches."""
    start_from: str | None = None
    """A .safetensors file, or a run folder, whose matching tensors the training starts from; null starts from random
    weights."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: mixed precision with bfloat16, weights and losses in float32. Faster on recent GPUs and on processors
    with instructions for it (AMX); on others many times slower."""
    compile: bool = False
    """Compile the network for its training steps: quicker ones after a slow first one."""
    devices: PositiveInt = 1
    """How many GPUs (or CPU processes) share each batch; batch_size must be a multiple."""
    reader_threads: NonNegativeInt = 0
    """Threads that read patches ahead; 0 chooses by the number of cores."""
    validation: ValidationConfig = WholeValidation()
    """What is predicted after each epoch to judge it."""
    criteria: Criteria = ("miou",)
    """What epochs are judged by: `loss`, `accuracy`, `auc_roc`, `f1` or `miou` of the validation. The first chooses the
    run's weights and is what plateaus and early stopping watch; of each further one the best weights are kept
    beside."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """What a loss or gradient of NaN or infinity does: `stop` ends the training, `skip` leaves the batch's update out
    and counts it. Either way the batch is saved in the run's folder `nonfinite`."""
    checkpoint_minutes: PositiveFloat = 10.0
    """A checkpoint is written at the end of each epoch, and within epochs whenever this much time has passed."""

    track: tuple[TrackerName, ...] = ()
    """Experiment trackers that get each epoch's numbers, too: `tensorboard`, into the folder `tensorboard` of the run,
    and `mlflow`, to the server that MLFLOW_TRACKING_URI names or into the file `mlflow.db` of the run. One that fails
    is left out with a warning, and the training goes on."""

    def rates(self, updates_per_epoch: int) -> LearningRate:
        """The learning rate of every update of such a training."""
        return LearningRate(self.schedule, self.learning_rate, updates_per_epoch * self.epochs)

    @model_validator(mode="after")
    def _averages_once(self) -> TrainingConfig:
        if self.swa is not None and self.ema_decay is not None:
            raise ValueError("swa: averages weights, and so does ema_decay; leave one of the two out")
        if self.swa is not None and self.swa.from_epoch > self.epochs:
            raise ValueError(
                f"swa.from_epoch: {self.swa.from_epoch} is after the last of {self.epochs} epochs, so nothing would be "
                "averaged; lower it"
            )
        return self

    @model_validator(mode="after")
    def _everything_thaws(self) -> TrainingConfig:
        for number, group in enumerate(self.groups):
            if group.frozen_epochs >= self.epochs:
                raise ValueError(
                    f"groups.{number}.frozen_epochs: {group.frozen_epochs} are all of the {self.epochs} epochs; lower "
                    "it, or freeze for good with learning_rate_factor: 0"
                )
        return self

    @model_validator(mode="after")
    def _rates_fall(self) -> TrainingConfig:
        floor = getattr(self.schedule, "floor", 0.0)
        if floor > self.learning_rate:
            raise ValueError(f"schedule.floor: {floor:g} is above learning_rate: {self.learning_rate:g}; lower it")
        return self
