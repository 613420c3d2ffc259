"""Updates whose loss or gradient is not finite: found on the device, and undone there where the recipe says so.

Looking at a number of a GPU makes the processor wait for it, so that after each step the GPU would idle. Here the
device itself notes which batches are bad, in one byte for each batch of the epoch, and the processor reads these notes
only now and then. An update that is to be skipped is undone by the device too: parameters, the optimiser's state and
the network's buffers (the statistics of batch normalisation) are copied before the update and put back where it was
bad. On a CPU, where nothing waits, a bad update is simply not made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

FINE, BAD_LOSS, BAD_GRADIENT = 0, 1, 2
"""What is noted of a batch. A bad gradient whose losses are finite is noted of every batch of its update."""
LOOK_EVERY = 20
"""Batches between looks at the notes of a GPU."""


class UpdateGuard:
    """Sees the losses and gradients of a session's updates. An update is one batch, or several that accumulate."""

    def __init__(self, network: nn.Module, batches: int, *, skip: bool) -> None:
        """
        Args:
            network: What is trained.
            batches: Of an epoch.
            skip: Whether a bad update is undone; otherwise it is only noted.
        """
        self.network, self.skip = network, skip
        self.waits = False
        """Whether looking at the device makes the processor wait."""
        self.notes = torch.zeros(batches, dtype=torch.uint8)
        self.sums = torch.zeros(2)
        """Sum of the losses of this epoch's batches in this process, and their number; without undone updates."""
        self.undone = torch.zeros((), dtype=torch.bool)
        """Whether the latest update was undone; a scalar on the device."""
        self._losses = torch.zeros(())
        self._first = self._last = 0
        self._world_size = 1
        self._has_state = False
        self._buffers, self._rest = _Copy(), _Copy()

    def begin_session(self, optimizer: torch.optim.Optimizer, device: torch.device, world_size: int) -> None:
        """Start on a device, with what a checkpoint may have restored."""
        self.waits = _waits(device)
        self.notes, self.sums = self.notes.to(device), self.sums.to(device)
        self._losses, self._world_size = torch.zeros((), device=device), world_size
        for group in optimizer.param_groups if self.skip and device.type == "cuda" else ():
            if "capturable" in group and not group.get("fused"):
                group["capturable"] = True  # counts its steps on the device, where they can be undone

    def begin_epoch(self) -> None:
        """Forget the epoch before."""
        self.notes.zero_()
        self.sums.zero_()

    def expect_new_state(self) -> None:
        """Before an update in which the optimiser makes state for parameters that have learnt nothing yet."""
        self._has_state = False

    def begin_update(self, batch: int) -> None:
        """Before the forward pass of an update's first batch, number `batch` of the epoch."""
        self._first = batch
        self._losses.zero_()
        if self.skip:
            self._buffers.take(list(self.network.buffers()))

    def see_loss(self, loss: Tensor, batch: int) -> None:
        """After the forward pass of batch number `batch`."""
        self._last = batch
        self.notes[batch] = ~torch.isfinite(loss.detach()) * BAD_LOSS
        self._losses += loss.detach()

    def see_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """After the backward pass of the update's last batch, before the optimiser uses the gradients."""
        notes = self.notes[self._first : self._last + 1]
        gradients = [one.grad for one in _parameters(optimizer) if one.grad is not None]
        if gradients:
            largest = torch.stack(torch._foreach_norm(gradients, float("inf")))
            notes += (~torch.isfinite(largest).all() & ~(notes != 0).any()) * BAD_GRADIENT
        if self._world_size > 1:
            torch.distributed.all_reduce(notes, torch.distributed.ReduceOp.MAX)
        if not self.skip:
            return
        # An optimiser makes its state at its first step, so that nothing could be put back there.
        tensors = _tensors(optimizer) if self.waits and self._has_state else None
        if tensors is not None:
            self._rest.take(tensors)
        elif bool((notes != 0).any()):
            optimizer.zero_grad(set_to_none=True)  # parameters without a gradient are left alone, state and all
        else:
            self._has_state = True

    def end_update(self) -> None:
        """After the optimiser's step."""
        bad = (self.notes[self._first : self._last + 1] != 0).any()
        self.undone = bad & self.skip
        fresh = torch.stack([self._losses, torch.full_like(self._losses, self._last + 1 - self._first)])
        self.sums += torch.where(self.undone, torch.zeros_like(fresh), fresh)
        for copy in (self._buffers, self._rest):
            copy.put_back_where(bad, waits=self.waits)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; called in all processes, each of which has its own losses."""
        sums = [self.sums.clone()]
        if self._world_size > 1:
            sums = [torch.zeros_like(self.sums) for _ in range(self._world_size)]
            torch.distributed.all_gather(sums, self.sums)
        return {"notes": self.notes.cpu(), "sums": torch.stack(sums).cpu()}

    def restore(self, state: dict[str, Any], rank: int) -> None:
        """Continue from `state`, in process `rank`."""
        self.notes = state["notes"].to(self.notes.device, copy=True)
        self.sums = state["sums"][rank].to(self.sums.device, copy=True)

    def mean_loss(self) -> float:
        """Mean of the losses of the epoch's batches over all processes; NaN where every update was undone."""
        total = self.sums.clone()
        if self._world_size > 1:
            torch.distributed.all_reduce(total)
        losses, number = total.tolist()
        return losses / number if number else float("nan")


class _Copy:
    """Copies of tensors, in one large one for each type, so that taking and putting back are a handful of calls."""

    def __init__(self) -> None:
        self._of: list[Tensor] = []
        self._before: list[tuple[Tensor, list[Tensor]]] = []
        self._taken = False

    @torch.no_grad()
    def take(self, tensors: Sequence[Tensor]) -> None:
        """Copy these."""
        if [id(one) for one in tensors] != [id(one) for one in self._of]:
            self._of = list(tensors)
            self._before = [_room_for(some) for some in self._by_type()]
        for (_, views), some in zip(self._before, self._by_type(), strict=True):
            torch._foreach_copy_(views, some)
        self._taken = True

    @torch.no_grad()
    def put_back_where(self, bad: Tensor, *, waits: bool) -> None:
        """Give the tensors the values of the copy if `bad`, which only the device knows where looking at it `waits`."""
        if not self._taken or not (waits or bool(bad)):
            return
        self._taken = False
        for (before, views), some in zip(self._before, self._by_type(), strict=True):
            if waits:
                now, views = _room_for(some)
                torch._foreach_copy_(views, some)
                torch.where(bad, before, now, out=now)
            torch._foreach_copy_(some, views)

    def _by_type(self) -> list[list[Tensor]]:
        found: dict[torch.dtype, list[Tensor]] = {}
        for one in self._of:
            found.setdefault(one.dtype, []).append(one)
        return list(found.values())


def _room_for(tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A flat tensor for the values of tensors of one type, and its parts in their forms."""
    flat = torch.empty(sum(one.numel() for one in tensors), dtype=tensors[0].dtype, device=tensors[0].device)
    views, first = [], 0
    for one in tensors:
        part = flat[first : first + one.numel()]
        dense = any(one.is_contiguous(memory_format=layout) for layout in _LAYOUTS.get(one.ndim, ()))
        views.append(
            part.as_strided(one.size(), one.stride(), part.storage_offset()) if dense else part.view(one.size())
        )
        first += one.numel()
    return flat, views


_LAYOUTS = {4: (torch.channels_last,), 5: (torch.channels_last_3d,)}


def _waits(device: torch.device) -> bool:
    return device.type != "cpu"


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    return (one for group in optimizer.param_groups for one in group["params"])


def _tensors(optimizer: torch.optim.Optimizer) -> list[Tensor] | None:
    """All that a step can change; None where some of it is no tensor on the device of its parameter."""
    found = []
    for parameter in _parameters(optimizer):
        values = [value for value in optimizer.state.get(parameter, {}).values() if value is not None]
        if not all(isinstance(value, Tensor) and value.device == parameter.device for value in values):
            return None
        found += [parameter, *values]
    return found
