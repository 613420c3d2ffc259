"""The one training module: network, loss, schedule and augmentations are its arguments, nobody subclasses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cristae.augment import Augmentation, Batch, Interpolation
from cristae.errors import TrainingError
from cristae.preprocess.normalize import Normalizer
from cristae.training.compilation import compiled
from cristae.training.config import TrainingConfig
from cristae.training.feed import PatchFeed, Worker
from cristae.training.layout import channels_last
from cristae.training.parameter_groups import group_parameters
from cristae.training.preparation import ComputeTargets, prepare_batch
from cristae.training.schedule import LearningRate

_CHECK_EVERY = 20
"""Batches between looks at a GPU's loss, each of which waits for the device."""


def _young_momentum(batch: int) -> float:
    """Running statistics of a young network average over the latest tenth of its batches.

    Keras' momentum of 0.01 alone would take some 300 batches to forget the initial mean 0 and variance 1, and a short
    training would be validated with statistics that belong to no network.
    """
    return 10 / (10 + batch)


@dataclass(frozen=True, eq=False)
class StepConfig:
    """Everything that makes a training step besides the network and the patches."""

    loss: nn.Module
    """Called as `loss(logits, target, valid, weight, further)`, the logits being those of the network or, where it has
    auxiliary outputs, a tuple of all of them."""
    penalty: Callable[[nn.Module], Tensor]
    """What the size of the weights alone adds to the loss."""
    augment: Sequence[Augmentation]
    targets: ComputeTargets
    """The recipe's targets, with their statistics."""
    normalizers: Mapping[str, Normalizer]
    """By volume name."""
    config: TrainingConfig
    seed: int
    device: torch.device
    interpolation: Interpolation = "linear"
    """Of the image where augmentations move voxels."""


class TrainingModule(LightningModule):
    """One batch: normalise, augment and compute targets on the device, forward, loss, penalty."""

    def __init__(self, network: nn.Module, step: StepConfig, feed: PatchFeed, rate: LearningRate) -> None:
        super().__init__()
        self.network = network
        self._run: Callable[[Tensor], Any] = compiled(network) if step.config.compile else network.__call__
        self.loss = step.loss
        self.step = step
        self.feed = feed
        self.rate = rate
        self.loss_sum = torch.zeros(())
        self._averages: list[tuple[_BatchNorm, float]] = []
        self._groups = group_parameters(network, step.config.groups)
        for group in self._groups:
            for value in group.values:  # frozen ones count neither in the norm of the gradient nor in its computation
                value.requires_grad_(group.learning_rate_factor > 0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser, with its groups of parameters."""
        config = self.step.config
        return config.optimizer.build(
            [
                {
                    "params": list(group.values),
                    "lr": config.learning_rate * group.learning_rate_factor,
                    "weight_decay": config.weight_decay * group.weight_decay_factor,
                }
                for group in self._groups
            ]
        )

    def on_fit_start(self) -> None:
        self.feed.worker = Worker(self.trainer.global_rank, self.trainer.world_size)
        norms = [module for module in self.network.modules() if isinstance(module, _BatchNorm)]
        self._averages = [(norm, norm.momentum) for norm in norms if norm.momentum]

    def on_train_epoch_start(self) -> None:
        self.feed.epoch = self.current_epoch
        self.loss_sum = torch.zeros((), device=self.device)

    def on_after_batch_transfer(self, batch: tuple[int, Batch], dataloader_idx: int) -> tuple[int, Batch]:
        """Raw patches on the device become normalised and augmented ones with targets, each from its own generator."""
        number, raw = batch
        step = self.step
        normal = replace(raw, image=self._normalised(raw), epoch_key=(step.seed, self.current_epoch))
        keys = [[step.seed, self.current_epoch, i, 1] for i in self.feed.indices(number)]
        generators = [np.random.default_rng(key) for key in keys]
        return number, prepare_batch(normal, step.augment, step.targets, generators, step.interpolation)

    def _normalised(self, batch: Batch) -> Tensor:
        used = [self.step.normalizers[name] for name in batch.volumes]
        if all(normalizer is used[0] for normalizer in used):
            return used[0].apply(batch.image)
        return torch.stack([one.apply(image) for one, image in zip(used, batch.image, strict=True)])

    def training_step(self, batch: tuple[int, Batch], batch_idx: int) -> Tensor:
        number, data = batch
        # Dropout draws from here, so a continued run draws what an undisturbed one does.
        torch.manual_seed(hash((self.step.seed, self.current_epoch, number, self.global_rank)) % 2**63)
        self._set_rates(batch_idx)
        logits = self._run(channels_last(data.image))
        loss: Tensor = self.loss(logits, data.target, data.valid, data.weight, data.further)
        loss = loss + self.step.penalty(self.network)
        if self.device.type == "cpu" or batch_idx % _CHECK_EVERY == 0:
            self._require_finite(loss, data)
        self.loss_sum += loss.detach()
        return loss

    def _set_rates(self, batch_idx: int) -> None:
        """How fast weights and running statistics change in this batch."""
        rate, accumulate = self.rate.at(self.global_step), self.step.config.accumulate
        for ours, group in zip(self._groups, self.trainer.optimizers[0].param_groups, strict=True):
            group["lr"] = rate * ours.learning_rate_factor
        for norm, momentum in self._averages:
            norm.momentum = max(momentum, _young_momentum(self.global_step * accumulate + batch_idx % accumulate))

    def _require_finite(self, loss: Tensor, batch: Batch) -> None:
        if torch.isfinite(loss):
            return
        places = "; ".join(f"{name} {box}" for name, box in zip(batch.volumes, batch.boxes, strict=True))
        raise TrainingError(
            f"the loss became {loss.item()} in epoch {self.current_epoch + 1} (patches {places}); lower "
            "training.learning_rate, set training.gradient_clip: 1.0, or train in fp32. The last whole epoch is kept."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rate"] = self.rate.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.rate.restore(checkpoint["rate"])
