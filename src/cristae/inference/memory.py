"""How large blocks may be: found from a stated ceiling, never from the size of the volume."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cristae.data.formats.cache import DECODED
from cristae.inference.shadow import shadow_of
from cristae.words import parse_size

DEFAULT_FRACTION = 0.5
"""Fraction of the free memory that is taken when no ceiling is stated."""


@dataclass(frozen=True)
class Budget:
    """Bytes that one block may use."""

    ram: int
    """In main memory."""
    device: int | None
    """On the accelerator; None when the network runs in main memory."""
    used: int = 0
    """Main memory that the process uses otherwise, which counts towards a stated ceiling."""
    stated: bool = False
    """Whether a ceiling was stated."""
    workers: int = 1
    """Processes with a block each, which share the main memory."""
    beside: int = 0
    """Main memory of the process that waits for several workers."""
    per_gpu: int = 1
    """Workers that share an accelerator."""

    def together(self, block: int) -> int:
        """Main memory of all processes when a block takes so much."""
        return self.workers * (block + self.used) + self.beside


def find_budget(
    device: torch.device, *, max_ram: str | int | None = None, max_vram: str | int | None = None, workers: int = 1
) -> Budget:
    """What blocks may use, from the ceilings stated or from the free memory.

    Args:
        device: Where the networks run.
        max_ram: Ceiling for the whole process, or for several together; None takes half of the free memory.
        max_vram: Ceiling on the accelerator; None takes most of what is free there. Without one it means nothing.
        workers: Processes of this computer that share all that. Each of several uses as much besides its block as this
            one, which waits for them.
    """
    rss = psutil.Process().memory_info().rss
    used, beside = rss + DECODED.limit_bytes, 0 if workers == 1 else rss
    free = int(psutil.virtual_memory().available * DEFAULT_FRACTION)
    ram = free if max_ram is None else parse_size(max_ram) - beside - workers * used
    if max_ram is None and workers > 1:
        ram -= workers * used
    found = Budget(ram // workers, None, used, max_ram is not None, workers, beside)
    if device.type != "cuda":
        return found
    there, per_gpu = torch.cuda.mem_get_info(device)[0], -(-workers // torch.cuda.device_count())
    vram = min(there, parse_size(max_vram)) if max_vram is not None else int(0.85 * there)
    return replace(found, device=vram // per_gpu, per_gpu=per_gpu)


def forward_bytes(network: nn.Module, shape: Sequence[int], *, halves: bool = False) -> int:
    """Peak bytes of the tensors that live at the same time during a forward pass, its input and output included.

    The pass runs on shapes alone (the 'meta' device): nothing is computed and nothing of that size is allocated.

    Args:
        network: Any network; it is not copied.
        shape: Shape of the input, (B, C, *S).
        halves: Whether it runs in bfloat16.
    """
    kind = torch.bfloat16 if halves else torch.float32
    counter = _LiveBytes()
    with shadow_of(network, kind) as shadow:
        image = torch.empty(tuple(shape), device="meta", dtype=kind)
        size = image.untyped_storage().nbytes()
        with counter:
            shadow(image)
    return size + counter.peak


def measured_bytes(network: nn.Module, shape: Sequence[int]) -> int:
    """The same as `forward_bytes`, of a real pass in float32 on a random image.

    Args:
        network: On the CPU, in evaluation; its code may depend on values.
        shape: Shape of the input, (B, C, *S).
    """
    image = torch.rand(tuple(shape), generator=torch.Generator().manual_seed(0))
    counter = _LiveBytes()
    with torch.no_grad(), counter:
        network(image)
    return image.untyped_storage().nbytes() + counter.peak


def live_bytes(network: nn.Module, image: Tensor) -> tuple[int, Tensor]:
    """Peak bytes of the tensors that a pass makes and that live at the same time, and its output.

    Args:
        network: Any.
        image: Its input; nothing is computed where it and the weights are on the 'meta' device.
    """
    counter = _LiveBytes()
    with torch.no_grad(), counter:
        output = network(image)
    return counter.peak, output


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that are alive and remembers the highest sum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, storage: Any) -> None:
        key = int(storage._cdata)
        if key in self._alive:
            return
        self._alive.add(key)
        self.now += storage.nbytes()
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size
