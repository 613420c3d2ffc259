"""Sums over the global batch when several processes train together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def in_this_process_alone() -> Iterator[None]:
    """While inside, sums are those of this process: for batches that it has to itself, as when processes validate."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def global_sum(tensor: Tensor) -> Tensor:
    """Sum over all processes, for totals from which every process computes the same loss; identity in a single one.

    The gradient is scaled by the number of processes, because data-parallel training averages gradients over them:
    the average is then the gradient that one process would get from the whole batch. Every process must call this
    equally often, but `in_this_process_alone`.
    """
    if _ALONE.get() or not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    summed: Tensor = _SumOverProcesses.apply(tensor)  # type: ignore[no-untyped-call]
    return summed


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Quotient of two scalars that are first summed over all processes; 0 when there is nothing to count."""
    sums = global_sum(torch.stack([total, count.to(total.dtype)]))
    return sums[0] / sums[1].clamp(min=1.0)


class _SumOverProcesses(torch.autograd.Function):
    """L is one function of the sum N on all W processes, so process r needs W dL/dN for the mean to be dL/dN."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.processes = dist.get_world_size()
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * int(ctx.processes)
