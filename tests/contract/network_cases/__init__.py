"""What the laws of `test_networks.py` are held against: one file for each family of networks.

Each file has `SMALL`, a mapping from an id to a `Small` network that is quick to run and has every branch of its code,
and `COUNTS`, a list of `Count` with the published or derived sizes of the full networks.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, field
from importlib import import_module

from cristae.models import NetworkConfig


@dataclass(frozen=True)
class Small:
    """A narrow network for laws that need it to run."""

    config: NetworkConfig
    in_channels: int = 2
    out_channels: int = 3
    sizes: tuple[tuple[int, ...], ...] = ()
    """Input sizes to try, the first one for everything that needs only one. Empty takes sizes around the stride."""
    dropout: bool = False
    """Whether two passes while training differ."""
    outputs: int = 1
    """Logits that it gives while training."""
    unreached: frozenset[str] = frozenset()
    """Parameters that no gradient reaches, by design of the paper."""
    onnx: str | None = None
    """Why it cannot be exported to ONNX, as a pattern of what the exporter says; None when it can."""
    overfit: NetworkConfig | None = None
    """A wider one that can learn eight patches by heart, when this one is too narrow."""
    overfit_size: tuple[int, ...] | None = None
    """Size T of those patches; None takes 64 x 64 or 8 x 48 x 48."""
    learning_rate: float = 3e-3
    """Of Adam, for learning them."""

    @property
    def size(self) -> tuple[int, ...]:
        """One input size S that is allowed."""
        return self.all_sizes[0]

    @property
    def all_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Input sizes, odd ones among them where the network pads."""
        if self.sizes:
            return self.sizes
        stride = self.config.total_stride
        if any(self.config.margin):
            smallest = self.config.input_size((1,) * len(stride))
            larger = tuple(a + b for a, b in zip(smallest, stride, strict=True))
            return (smallest,) if self.config.fixed_output else (smallest, larger)
        twice = tuple(2 * step for step in stride)
        return (twice, tuple(side + 1 for side in twice), tuple(max(1, side - 3) for side in twice), (1,) * len(stride))


@dataclass(frozen=True)
class Count:
    """The size of a full network."""

    config: NetworkConfig
    trainable: int
    buffers: int = 0
    in_channels: int = 1
    out_channels: int = 1
    conv_gflop: float | None = None
    """2 x multiply-accumulates of all convolutions of one image of `size`, without biases, as printed in the source."""
    size: tuple[int, ...] = field(default=(512, 512))
    label: str = ""

    @property
    def id(self) -> str:
        """For test reports."""
        changed = {k: v for k, v in self.config.model_dump(exclude_defaults=True).items() if k != "name"}
        options = ",".join(f"{k}={v}" for k, v in changed.items())
        return f"{self.config.name}({options})x{self.in_channels}" if not self.label else self.label  # type: ignore[attr-defined]


def collect() -> tuple[dict[str, Small], list[Count]]:
    """All families' networks."""
    small: dict[str, Small] = {}
    counts: list[Count] = []
    for found in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{found.name}")
        small |= module.SMALL
        counts += module.COUNTS
    return small, counts
