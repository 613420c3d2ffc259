"""Averages of the weights, which are validated, saved and used in place of the latest ones.

Either an exponential moving average over updates, or the plain one over the ends of epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from cristae.training.batch_statistics import estimate_from_training
from cristae.training.config import TrainingConfig
from cristae.training.module import TrainingModule
from cristae.training.nonfinite import at_update


def share_of_latest(decay: float, updates: Tensor) -> Tensor:
    """How much of the latest weights enters the average, t updates after its first: 1 - min(decay, (1 + t) / (10 + t)).

    So the average of a young training follows its weights, and forgets the random ones it began with.
    """
    return (9 / (10 + updates)).clamp(min=1 - decay)


class AveragedWeights(Callback):
    """The averaged twin of a network: average = d * average + (1 - d) * latest after each update that is not undone.

    Running statistics of batch normalisation are averaged like the weights, because those of a moment belong to the
    weights of that moment; whole numbers such as counts are taken over.

    Lightning's `WeightAveraging` copies the whole training module, with it the cached patches of its feed; it exchanges
    weights in Lightning's own validation only, and leaves the average in the network that is trained.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).requires_grad_(False)
        self.decay = decay
        self._updates = torch.zeros((), dtype=torch.int64)

    def judged(self, latest: nn.Module) -> nn.Module:
        """What is validated after an epoch, and saved where it is better."""
        return self.network

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.network.to(pl_module.device)
        self._updates = self._updates.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if at_update(trainer, pl_module):
            self.update(pl_module.network, pl_module.guard.undone)

    @torch.no_grad()
    def update(self, network: nn.Module, undone: Tensor) -> None:
        """Let the latest weights into the average, unless the update to them was undone, as the device alone knows."""
        share = torch.where(undone, 0.0, share_of_latest(self.decay, self._updates))
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        real = [pair for pair in pairs if pair[0].is_floating_point()]
        averaged, latest = [average for average, _ in real], [tensor for _, tensor in real]
        steps = torch._foreach_sub(latest, averaged)
        torch._foreach_mul_(steps, share)  # `_foreach_lerp_` takes shares of the device one by one
        torch._foreach_add_(averaged, steps)
        for average, tensor in pairs:
            if not average.is_floating_point():
                average.copy_(tensor)
        self._updates += ~undone

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "updates": int(self._updates)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.network.load_state_dict(state_dict["network"])
        self._updates.fill_(state_dict["updates"])


class EpochAverages(Callback):
    """The plain average of the weights that epochs end with, from a given epoch on (stochastic weight averaging).

    Running statistics of batch normalisation are estimated for the average itself, after each epoch, on the batches
    that the epoch was trained on (200 at most), but for those that are frozen; all else that is not a parameter is that
    of the latest network.

    References:
        Izmailov et al. (2018), https://arxiv.org/abs/1803.05407, algorithm 1
    """

    def __init__(self, network: nn.Module, from_epoch: int) -> None:
        self.network = deepcopy(network).requires_grad_(False)
        self.from_epoch = from_epoch
        self._epochs = 0

    def judged(self, latest: nn.Module) -> nn.Module:
        """What is validated after an epoch, and saved where it is better: the average, once there is one."""
        return self.network if self._epochs else latest

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.network.to(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before `EpochEnd`, which stands after it among the callbacks and validates.
        assert isinstance(pl_module, TrainingModule)
        if trainer.current_epoch + 1 >= self.from_epoch:
            self.update(pl_module.network)
            kept = frozenset(pl_module.frozen_norms())
            estimate_from_training(self.network, pl_module.step, pl_module.feed, trainer.current_epoch, kept)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Let the weights of an epoch's end into the average."""
        self._epochs += 1
        for average, latest in zip(self.network.parameters(), network.parameters(), strict=True):
            average.add_((latest - average) / self._epochs)
        for ours, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            ours.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "epochs": self._epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.network.load_state_dict(state_dict["network"])
        self._epochs = state_dict["epochs"]


Averages = AveragedWeights | EpochAverages


def averages_of(network: nn.Module, config: TrainingConfig) -> Averages | None:
    """The average that a recipe asks for."""
    if config.swa is not None:
        return EpochAverages(network, config.swa.from_epoch)
    return AveragedWeights(network, config.ema_decay) if config.ema_decay else None


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


@torch.no_grad()
def average_weights(networks: Sequence[nn.Module]) -> nn.Module:
    """A new network whose weights are the mean of others of the same form, added up in float64.

    Running statistics of batch normalisation are averaged too, though they fit no network any more: estimate them
    again. Whole numbers are those of the first.

    References:
        Wortsman et al. (2022), https://arxiv.org/abs/2203.05482
    """
    averaged = deepcopy(networks[0])
    columns = zip(_tensors(averaged), *(_tensors(network) for network in networks), strict=True)
    for target, *tensors in columns:
        if target.is_floating_point():
            target.copy_(torch.stack([tensor.double() for tensor in tensors]).mean(0))
    return averaged
