"""Where to compute."""

from __future__ import annotations

import torch

from cristae.errors import RunError
from cristae.inference.config import DeviceName


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
