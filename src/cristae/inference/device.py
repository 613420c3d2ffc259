"""Where to compute."""

from __future__ import annotations

import torch

from cristae.errors import RunError
from cristae.inference.config import DeviceName
from cristae.progress import Progress

_WITHOUT_BF16 = ("DEFAULT", "NO AVX", "AVX2")
"""Capabilities of processors, as PyTorch names them, on which bfloat16 is computed one number at a time."""


def choose_device(name: DeviceName = "auto", *, cure: str = "set the recipe's device to auto") -> torch.device:
    """The device of that name; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Args:
        name: As a recipe or an unfinished prediction names it.
        cure: What to do when this machine does not have it, for the message.

    Raises:
        RunError: The device was named and this machine does not have it.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, found in there.items() if found))
    if not there[name]:
        found = ", ".join(device for device in there if there[device])
        raise RunError(f"device '{name}' was asked for, but this machine offers only {found}; {cure}")
    return torch.device(name)


def has_fast_bf16() -> bool:
    """Whether the processor has instructions for bfloat16, or none that are known to lack them."""
    return torch.backends.cpu.get_cpu_capability() not in _WITHOUT_BF16


def warn_of_slow_bf16(device: torch.device, field: str, progress: Progress) -> None:
    """Warn of `bf16` on a processor that has no instructions for it.

    Args:
        device: Where to compute.
        field: What asks for bf16, such as `training.precision`.
        progress: Where to warn.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if device.type == "cpu" and capability in _WITHOUT_BF16:
        progress.warn(
            f"{field}: bf16 is many times slower than fp32 on this processor, which has no instructions for it "
            f"({capability}); set {field} to fp32 here"
        )


def require_devices(device: torch.device, count: int) -> None:
    """Make sure that as many devices of a kind are there as train together; any number of CPU processes is.

    Raises:
        RunError: There are fewer.
    """
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, count)
    if count > there:
        raise RunError(
            f"training.devices: {count} devices are to train together, but this machine has {there} of kind "
            f"'{device.type}'; set training.devices to {there} or less"
        )
