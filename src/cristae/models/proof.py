"""Whether a network is what its config says: the form of its properties, and what it does with small images."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from cristae.errors import CristaeError, NetworkError
from cristae.models.form import Blend, NetworkConfig

_CRISTAE = Path(__file__).parents[1]
_LEAST_SIDE = {2: 32, 3: 16}
"""Shorter sides would be foreign to networks with large kernels."""
_NUMBERS = {"in_slices": 1, "smallest_batch": 1, "published_logits": 1}
"""Properties that are whole numbers, and their least value."""
_SIDES = {"total_stride": 1, "margin": 0, "smallest_output": 1, "window": 1}
"""Properties with a whole number for each axis, and their least value."""


def require_form(config: NetworkConfig, name: str) -> None:
    """Make sure that the properties of a config are of the kind that everything else relies on.

    Args:
        config: Its properties may be anyone's code.
        name: What messages call it.

    Raises:
        NetworkError: One is of another kind or fails; says how to write it.
    """
    ndim = _read(config, "ndim", name)
    if not _is_whole(ndim, 2) or ndim > 3:
        raise NetworkError(f"{name}: ndim is {_shown(ndim)}; it must be 2 for slices or 3 for volumes")
    for what, least in _SIDES.items():
        sides = _read(config, what, name)
        if not isinstance(sides, tuple | list) or not all(_is_whole(side, least) for side in sides):
            raise NetworkError(
                f"{name}: {what} is {_shown(sides)}; write it as a property that gives a tuple, one whole number of at "
                f"least {least} for each axis"
            )
        if len(sides) != ndim:
            raise NetworkError(f"{name}: {what} is {tuple(sides)}, but must have {ndim} numbers, as many as ndim")
    for what, least in _NUMBERS.items():
        number = _read(config, what, name)
        if not _is_whole(number, least):
            raise NetworkError(f"{name}: {what} is {_shown(number)}; it must be a whole number of at least {least}")
    weights = _read(config, "auxiliary_weights", name)
    if not isinstance(weights, tuple | list) or not weights or not all(_is_number(weight) for weight in weights):
        raise NetworkError(
            f"{name}: auxiliary_weights is {_shown(weights)}; write it as a property that gives a tuple, one "
            "number for each output"
        )
    fixed, blend = _read(config, "fixed_output", name), _read(config, "blend", name)
    if not isinstance(fixed, bool):
        raise NetworkError(f"{name}: fixed_output is {_shown(fixed)}; write it as a property that gives True or False")
    if blend not in get_args(Blend):
        raise NetworkError(f"{name}: blend is {_shown(blend)}; it must be one of {', '.join(get_args(Blend))}")


def prove(config: NetworkConfig, name: str, *, in_channels: int, out_channels: int) -> None:
    """Run a network with fresh weights on small random images, and hold its logits against its config.

    Nothing is drawn from the process's random generators. It takes as long as a few passes of `2 * total_stride`
    voxels on the CPU.

    Args:
        config: Of the right form, see `require_form`.
        name: What messages call it.
        in_channels: Channels of the images.
        out_channels: Logits for each voxel.

    Raises:
        NetworkError: The network fails, or gives something else than its config says.
    """
    least = _LEAST_SIDE[config.ndim]
    side = [stride * max(2, -(-least // stride)) for stride in config.total_stride]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = config.build(in_channels, out_channels)
        proof = _Proof(config, name, network, in_channels, out_channels)
        with _explained(f"{name}: the size of its images cannot be computed"):
            size = tuple(config.input_size(config.good_output(side)))
        proof.of_prediction(size)
        if not any(config.margin):
            anything = (
                f"; it must take images of any size, multiples of total_stride {tuple(config.total_stride)} or not"
            )
            proof.of_prediction(tuple(one + 1 for one in size), more=anything)
        proof.of_training(size)


@contextmanager
def blamed_on(files: Collection[str], what: str) -> Iterator[None]:
    """Report errors that pass through the given files as those of the network there.

    Raises:
        NetworkError: In place of any other error; with the place where it came up.
    """
    try:
        yield
    except CristaeError:
        raise
    except Exception as error:
        if not any(frame.filename in files for frame in traceback.extract_tb(error.__traceback__)):
            raise
        raise NetworkError(f"{what}: {described(error)}") from error


def described(error: BaseException) -> str:
    """An error of somebody's code in one line, with the place where it came up."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    foreign = ("<", str(_CRISTAE))
    own = [one for one in frames if not one.filename.startswith(foreign) and "site-packages" not in one.filename]
    place = (own or frames)[-1]
    return f"{place.filename}:{place.lineno}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"


@dataclass(frozen=True, eq=False)
class _Proof:
    """A network beside what its config says."""

    config: NetworkConfig
    name: str
    network: nn.Module
    in_channels: int
    out_channels: int

    def of_prediction(self, size: tuple[int, ...], more: str = "") -> None:
        """One tensor of logits for images of a `size` S; `more` ends the message about another size."""
        self.network.eval()
        logits = self._run(size, more)
        if not isinstance(logits, Tensor):
            raise NetworkError(
                f"{self.name} gives a {type(logits).__name__} when it predicts; its network must return a tensor of "
                "logits there (auxiliary outputs only where `self.training`)"
            )
        self._require_shape(logits, size, more)

    def of_training(self, size: tuple[int, ...]) -> None:
        """As many outputs as have a weight, the main one first."""
        self.network.train()
        output = self._run(size)
        outputs = output if isinstance(output, tuple | list) else (output,)
        for one in outputs:
            if not isinstance(one, Tensor):
                raise NetworkError(
                    f"{self.name} gives a {type(one).__name__} in training; its network must return a tensor of "
                    "logits, or a tuple of them with the main one first"
                )
        weights = self.config.auxiliary_weights
        if len(outputs) != len(weights):
            raise NetworkError(
                f"{self.name} gives {_count(len(outputs), 'output')} in training, but auxiliary_weights has "
                f"{_count(len(weights), 'number')}; write one for each output, the main one first"
            )
        self._require_shape(outputs[0], size)

    @property
    def batch(self) -> int:
        """Images at once; more than one, so that batches that are not kept apart show."""
        return max(2, self.config.smallest_batch)

    def _run(self, size: tuple[int, ...], more: str = "") -> Any:
        image = torch.randn(self.batch, self.in_channels, *size)
        when = "in training" if self.network.training else "in prediction"
        axes = f"batch, channels, {_axes(self.config)}"
        with _explained(f"{self.name} fails {when} for images of {_times(image.shape)} ({axes})", more):
            return self.network(image)

    def _require_shape(self, logits: Tensor, size: tuple[int, ...], more: str = "") -> None:
        if logits.ndim != 2 + self.config.ndim or logits.shape[0] != self.batch:
            raise NetworkError(
                f"{self.name} gives logits of shape {tuple(logits.shape)} for {self.batch} images; they must have the "
                f"axes (batch, channels, {_axes(self.config)}), with {self.batch} in the first"
            )
        if logits.shape[1] != self.out_channels:
            raise NetworkError(
                f"{self.name} gives {_count(logits.shape[1], 'channel')} instead of {self.out_channels}; its last "
                "layer must have the `out_channels` that `build` is given"
            )
        with _explained(f"{self.name}: output_size({size}) fails"):
            expected = tuple(self.config.output_size(size))
        found = tuple(logits.shape[2:])
        if found != expected:
            cure = f"its config says {_times(expected)}" if any(self.config.margin) else "pad inside, or say `margin`"
            raise NetworkError(f"{self.name} gives {_times(found)} for an image of {_times(size)}{more}; {cure}")
        if not logits.is_floating_point():
            raise NetworkError(f"{self.name} gives {logits.dtype}; logits must be floating-point numbers")


@contextmanager
def _explained(what: str, more: str = "") -> Iterator[None]:
    """Report whatever external code raises as an error of that code."""
    try:
        yield
    except NetworkError as error:
        raise NetworkError(f"{what}: {error}{more}") from None
    except Exception as error:
        raise NetworkError(f"{what}: {described(error)}{more}") from error


def _read(config: NetworkConfig, what: str, name: str) -> Any:
    try:
        return getattr(config, what)
    except Exception as error:
        raise NetworkError(f"{name}: {what} cannot be read: {described(error)}") from error


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < float("inf")


def _shown(value: object) -> str:
    return "a method" if callable(value) else repr(value)[:60]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _times(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


def _axes(config: NetworkConfig) -> str:
    return ", ".join("zyx"[3 - config.ndim :])
