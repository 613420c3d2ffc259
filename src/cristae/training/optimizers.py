"""Optimisers: each with the constants of its own; learning rate and weight decay stand beside them in `training`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from cristae.config import Config

Decay = Annotated[float, Field(ge=0, lt=1)]
Groups = list[dict[str, Any]]
"""Parameters as torch's optimisers take them, each with its `lr` and its `weight_decay`."""


class OptimizerConfig(Config):
    """How gradients become updates."""

    decays: ClassVar[bool] = True
    """Whether it has a weight decay."""

    @abstractmethod
    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """An optimiser of these parameters."""


class Moments(OptimizerConfig):
    """An optimiser with running means of the gradient and of its square."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """How much of each mean is kept from update to update (Guay et al.: [0.968377, 0.992057])."""
    eps: PositiveFloat = 1e-7
    """What is added to the root of the mean square."""


class Adam(Moments):
    """Adam with the constants of Keras (Kingma and Ba 2015); it has no weight decay, see `adamw`."""

    name: Literal["adam"] = "adam"
    decays: ClassVar[bool] = False

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam([group | {"weight_decay": 0.0} for group in groups], betas=self.betas, eps=self.eps)


class AdamW(Moments):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    eps: PositiveFloat = 1e-8
    """What is added to the root of the mean square."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """AdamW: each update also multiplies the weights by 1 - lr * weight_decay."""
        return torch.optim.AdamW(groups, betas=self.betas, eps=self.eps)


class RAdam(Moments):
    """Rectified Adam (Liu et al. 2020), EM-stellar's default; its weight decay is decoupled, as in `adamw`.

    Keras' version adds eps after v is corrected for its bias, torch's before, which amounts to 1e-6 on weights of 0.08
    after 3,000 steps.
    """

    name: Literal["radam"] = "radam"

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """RAdam; each update also multiplies the weights by 1 - lr * weight_decay."""
        return torch.optim.RAdam(groups, betas=self.betas, eps=self.eps, decoupled_weight_decay=True)


class SGD(OptimizerConfig):
    """Gradient descent with momentum; its weight decay is L2, a part of the gradient.

    The rate multiplies the whole velocity. In Caffe and Keras it multiplies each gradient that enters the velocity,
    which differs only where the rate changes from one update to the next.
    """

    name: Literal["sgd"] = "sgd"
    momentum: Decay = 0.9
    """How much of the velocity is kept from update to update (CDeep3M: 0.9; EM-stellar: 0)."""
    nesterov: bool = False
    """Take the gradient's step from where the velocity leads."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """SGD: velocity = momentum * velocity + gradient + weight_decay * weight; weight -= lr * velocity."""
        return torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov)


def _by_name(value: object) -> object:
    """`adam` for `{name: adam}`."""
    return {"name": value} if isinstance(value, str) else value


_Any = Annotated[Adam | AdamW | RAdam | SGD, Field(discriminator="name")]
Optimizer = Annotated[
    _Any,
    BeforeValidator(_by_name, json_schema_input_type=_Any | Literal["adam", "adamw", "radam", "sgd"]),
]
"""Any optimiser, discriminated by `name`; the name alone stands for its defaults."""
