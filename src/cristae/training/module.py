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
from cristae.data.affinities import Affinities
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer
from cristae.training.compilation import compiled
from cristae.training.config import TrainingConfig
from cristae.training.feed import PatchFeed, Worker
from cristae.training.guard import UpdateGuard
from cristae.training.layout import channels_last
from cristae.training.normalized import normalized
from cristae.training.parameter_groups import group_parameters
from cristae.training.preparation import ComputeTargets, prepare_batch
from cristae.training.schedule import LearningRate


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
    affinities: Affinities | None = None
    """What the classes are, where patches come with object ids."""
    network_input: NetworkInput = NetworkInput()
    """What happens to patches after augmentation."""


def ready_batch(step: StepConfig, raw: Batch, keys: Sequence[Sequence[int]], *, augment: bool = True) -> Batch:
    """Raw patches on the device, normalised and augmented, with their targets.

    Args:
        step: How.
        raw: As the feed gives them.
        keys: What each patch's random numbers come from: seed and epoch, which all have in common, and more.
        augment: Whether patches are augmented.
    """
    generators = [np.random.default_rng(key) for key in keys]
    (seed, epoch), steps = keys[0][:2], step.augment if augment else ()
    normal = replace(normalized(raw, step.normalizers), epoch_key=(seed, epoch))
    return prepare_batch(
        normal, steps, step.targets, generators, step.interpolation, step.affinities, step.network_input
    )


def patch_keys(seed: int, epoch: int, indices: Sequence[int]) -> list[list[int]]:
    """What the random numbers of training patches come from."""
    return [[seed, epoch, index, 1] for index in indices]


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
        self.guard = UpdateGuard(network, len(feed), skip=step.config.nonfinite == "skip")
        self._averages: list[tuple[_BatchNorm, float]] = []
        self._groups = group_parameters(network, step.config.groups)
        self._frozen_norms: list[_BatchNorm] = []
        self._epoch_frozen = -1
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
        self.guard.begin_session(self.trainer.optimizers[0], self.device, self.trainer.world_size)

    def on_train_epoch_start(self) -> None:
        self.feed.begin(self.current_epoch)
        self.guard.begin_epoch()

    def on_after_batch_transfer(self, batch: tuple[int, Batch], dataloader_idx: int) -> tuple[int, Batch]:
        """Raw patches on the device become normalised and augmented ones with targets."""
        number, raw = batch
        return number, ready_batch(self.step, raw, self.keys(self.feed.indices(number)))

    def keys(self, indices: Sequence[int]) -> list[list[int]]:
        """What the random numbers of these patches of the current epoch come from."""
        return patch_keys(self.step.seed, self.current_epoch, indices)

    def training_step(self, batch: tuple[int, Batch], batch_idx: int) -> Tensor:
        number, data = batch
        if number % self.trainer.accumulate_grad_batches == 0:
            self.guard.begin_update(number)
        # Dropout draws from here, so a continued run draws what an undisturbed one does.
        torch.manual_seed(hash((self.step.seed, self.current_epoch, number, self.global_rank)) % 2**63)
        self._set_rates(number)
        self._freeze()
        logits = self._run(channels_last(data.image))
        loss: Tensor = self.loss(logits, data.target, data.valid, data.weight, data.further)
        loss = loss + self.step.penalty(self.network)
        self.guard.see_loss(loss, number)
        return loss

    def frozen_norms(self) -> dict[str, _BatchNorm]:
        """The batch normalisations all of whose parameters are frozen in this epoch, by name."""
        frozen = [group for group in self._groups if not group.learns(self.current_epoch)]
        kept = {id(value) for group in frozen for value in group.values}
        return {
            name: norm
            for name, norm in self.network.named_modules()
            if isinstance(norm, _BatchNorm) and norm.affine and kept >= set(map(id, norm.parameters()))
        }

    def _freeze(self) -> None:
        """Keep what is not to change in this epoch: parameters, and the running statistics of batch normalisations all
        of whose parameters are frozen. These normalise by their statistics, as they do in prediction."""
        if self._epoch_frozen != self.current_epoch:
            self._epoch_frozen = self.current_epoch
            if any(group.frozen_epochs == self.current_epoch for group in self._groups):
                self.guard.expect_new_state()
            self._frozen_norms = list(self.frozen_norms().values())
            if self.trainer.world_size == 1:  # with several processes, which parameters have gradients may not change
                for group in self._groups:
                    for value in group.values:
                        value.requires_grad_(group.learns(self.current_epoch))
            self.network.train()
        for norm in self._frozen_norms:  # validation sets the mode of the whole network
            norm.eval()

    def _set_rates(self, number: int) -> None:
        """How fast weights and running statistics change in batch `number` of the epoch.

        Undone updates count here, since only the device knows them: a schedule ends where it says.
        """
        rate, accumulate = self.rate.at(self.global_step), self.step.config.accumulate
        for ours, group in zip(self._groups, self.trainer.optimizers[0].param_groups, strict=True):
            group["lr"] = rate * ours.learning_rate_factor
        for norm, momentum in self._averages:
            norm.momentum = max(momentum, _young_momentum(self.global_step * accumulate + number % accumulate))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for group in self._groups:
            if not group.learns(self.current_epoch):
                for value in group.values:
                    value.grad = None  # the optimiser leaves out what has no gradient
        self.guard.see_gradients(optimizer)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.guard.end_update()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rate"] = self.rate.state()
        checkpoint["guard"] = self.guard.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.rate.restore(checkpoint["rate"])
        self.guard.restore(checkpoint["guard"], self.trainer.global_rank)
