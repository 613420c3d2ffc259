"""Weights for a network from a file that was made for another one, as far as names and shapes agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from cristae.errors import MissingFileError, NetworkError

_SHOWN = 3
"""Names that messages list of each kind."""
_LEAST = 0.01
"""Fraction of the parameters below which a file is taken for one of another network: a bias or two fit by chance."""


@dataclass(frozen=True)
class OtherShape:
    """A tensor that both have, in different shapes."""

    name: str
    saved: tuple[int, ...]
    wanted: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} ({_sides(self.saved)} instead of {_sides(self.wanted)})"


@dataclass(frozen=True)
class MatchReport:
    """Which tensors of a network were filled."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    """Tensors of the network that are not in the file."""
    unexpected: tuple[str, ...]
    """Tensors of the file that are not in the network."""
    other_shape: tuple[OtherShape, ...]
    parameter_share: float
    """Part of the network's trainable parameters that was filled, 0 to 1."""

    @property
    def summary(self) -> str:
        """What matched and what did not, in one line."""
        tensors = len(self.matched) + len(self.missing) + len(self.other_shape)
        percent = f"{100 * self.parameter_share:.1f}"
        if percent == "100.0" and self.parameter_share < 1:
            percent = "99.9"
        text = f"{len(self.matched)} of {tensors} tensors ({percent} % of the parameters) match"
        for what, names in (
            ("of another shape", [str(one) for one in self.other_shape]),
            ("not in the file", self.missing),
            ("in the file only", self.unexpected),
        ):
            if names:
                text += f"; {what}: {_some(names)}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def load_matching(network: nn.Module, path: Path) -> MatchReport:
    """Fill the tensors of a network that a file has under the same name and in the same shape.

    Args:
        network: Changed in place; not at all when there is an error.
        path: A .safetensors file, such as the weights of a run.

    Returns:
        What was filled and what was not.

    Raises:
        MissingFileError: There is no such file.
        NetworkError: It is damaged or of another format, less than 1 % of the parameters match, or what does is not
            finite.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file of weights")
    wanted = network.state_dict()
    parameters = {name for name, _ in network.named_parameters()}
    try:
        path.open("rb").close()  # safetensors takes a file that may not be read for a missing one
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            same = [name for name in wanted if shapes.get(name) == tuple(wanted[name].shape)]
            saved = {name: file.get_tensor(name) for name in same}
    except (OSError, SafetensorError, ValueError) as error:
        raise NetworkError(f"{path}: {_why_unreadable(path, error)}") from None
    sizes = {name: wanted[name].numel() for name in parameters}
    fraction = sum(sizes[name] for name in parameters & saved.keys()) / max(1, sum(sizes.values()))
    if fraction < _LEAST:
        own = {name: tuple(wanted[name].shape) for name in wanted if name not in saved}
        other = {name: shape for name, shape in shapes.items() if name not in saved} or shapes
        raise NetworkError(
            f"{path}: {'less than 1 %' if fraction else 'none'} of the network's parameters match its tensors in name "
            f"and shape. It has {_examples(other)}; the network has {_examples(own)}"
        )
    foreign = [name for name, one in saved.items() if one.is_floating_point() != wanted[name].is_floating_point()]
    if foreign:
        raise NetworkError(f"{path}: {_some(foreign)} holds {saved[foreign[0]].dtype}, not {wanted[foreign[0]].dtype}")
    broken = [name for name, tensor in saved.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise NetworkError(f"{path}: {_some(broken)} holds NaN or infinity; take other weights")
    with torch.no_grad():
        for name, tensor in saved.items():
            wanted[name].copy_(tensor)
    return MatchReport(
        matched=tuple(saved),
        missing=tuple(name for name in wanted if name not in shapes),
        unexpected=tuple(name for name in shapes if name not in wanted),
        other_shape=tuple(
            OtherShape(name, shapes[name], tuple(tensor.shape))
            for name, tensor in wanted.items()
            if name in shapes and name not in saved
        ),
        parameter_share=fraction,
    )


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if path.suffix != ".safetensors":
        return (
            f"is not a .safetensors file, the only kind that is read, because others can run code when they are opened "
            f"({error})"
        )
    return f"is damaged: {error}"


def _examples(shapes: dict[str, tuple[int, ...]]) -> str:
    return _some([f"{name} ({_sides(shape)})" for name, shape in shapes.items()]) if shapes else "no tensors"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"
