"""Two processes that share a batch learn what one process learns from the whole of it."""

import os
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cristae.data.classes import Classes
from cristae.losses import (
    CrossEntropy,
    CrossEntropyDice,
    DenseCellLoss,
    JaccardDistance,
    LossConfig,
    SegETLoss,
    SumLoss,
)

ONE = Classes(names=("background", "mito"))
FOUR = Classes(names=("background", "mito", "membrane", "granule"))

CASES: tuple[tuple[LossConfig, Classes], ...] = (
    (SegETLoss(), ONE),
    (SegETLoss(jaccard="sample", weights="both"), ONE),
    (CrossEntropyDice(dice_classes="all"), ONE),
    (CrossEntropyDice(), FOUR),
    (DenseCellLoss(), FOUR),
    (SumLoss(terms=(CrossEntropy(weight=0.5), JaccardDistance(weight=2, over="sample", classes="all"))), FOUR),
)


def network(classes: Classes) -> nn.Module:
    torch.manual_seed(1)
    return nn.Conv2d(1, classes.n_logits, 3, padding=1).double()


def batch(classes: Classes) -> list[Tensor]:
    """Four samples whose valid voxels are many in the first half and few in the second."""
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=generator)
    target = torch.randint(0, len(classes.names), (4, 8, 8), generator=generator)
    share = torch.tensor([1.0, 0.9, 0.2, 0.0]).view(-1, 1, 1)
    valid = torch.rand(4, 8, 8, generator=generator) < share
    return [image, target, valid, torch.rand(4, 8, 8, dtype=torch.float64, generator=generator)]


def gradients(model: nn.Module, config: LossConfig, classes: Classes, part: slice) -> list[Tensor]:
    """The loss and its gradients; `part` is the share of the batch that this process sees."""
    image, target, valid, weight = (tensor[part] for tensor in batch(classes))
    loss = config.build(classes)(model(image), target, valid, weight)
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in model.parameters())]


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=Path(folder, "meet").as_uri(), rank=rank, world_size=2)
    for index, (config, classes) in enumerate(CASES):
        model = DistributedDataParallel(network(classes))
        found = gradients(model, config, classes, slice(2 * rank, 2 * rank + 2))
        torch.save(found, Path(folder, f"{index}-{rank}.pt"))
        del model
    dist.barrier()
    dist.destroy_process_group()
    # Gloo's threads now and then abort the interpreter's own shutdown; the results are on disk.
    os._exit(0)


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch is built without gloo")
def test_gradient_of_two_processes_is_that_of_one(tmp_path, monkeypatch):
    if sys.platform == "linux":
        monkeypatch.setitem(os.environ, "GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    for index, (config, classes) in enumerate(CASES):
        expected = gradients(network(classes), config, classes, slice(None))
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{index}-{rank}.pt", weights_only=True)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
