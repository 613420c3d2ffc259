"""What tests need to read a network's layer table in a straight line, with plain functions and without its modules."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.models import parameter_count


class Layers:
    """The layers of (a part of) a network in the order in which they were made, each used once."""

    def __init__(self, *parts: nn.Module) -> None:
        modules = [module for part in parts for module in part.modules()]
        self.convs = iter([m for m in modules if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)])
        self.norms = iter([m for m in modules if isinstance(m, nn.BatchNorm2d)])
        self.slopes = iter([m for m in modules if hasattr(m, "alpha") or isinstance(m, nn.PReLU)])

    def conv(self, x: Tensor, stride: int = 1, padding: int | tuple[int, int] | None = None) -> Tensor:
        """Zero-padded by half the kernel unless stated otherwise."""
        conv = next(self.convs)
        assert conv.bias is not None
        kernel = conv.weight.shape[2:]
        return F.conv2d(
            x, conv.weight, conv.bias, stride, (kernel[0] // 2, kernel[1] // 2) if padding is None else padding
        )

    def norm(self, x: Tensor, eps: float = 1e-3) -> Tensor:
        norm = next(self.norms)
        scale = norm.weight / (norm.running_var + eps).sqrt()
        return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    def cbr(self, x: Tensor, stride: int = 1) -> Tensor:
        """Convolution, normalisation, ReLU."""
        return F.relu(self.norm(self.conv(x, stride)))

    def cr(self, x: Tensor) -> Tensor:
        """Convolution, ReLU."""
        return F.relu(self.conv(x))

    def conv2(self, x: Tensor) -> Tensor:
        """2x2 convolution after padding on the right and at the bottom."""
        return self.conv(F.pad(x, (0, 1, 0, 1)), padding=0)

    def require_done(self) -> None:
        """Nothing is left over."""
        assert [next(left, None) for left in (self.convs, self.norms, self.slopes)] == [None] * 3


def up(x: Tensor) -> Tensor:
    """Nearest enlargement by two."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pool(x: Tensor) -> Tensor:
    """Largest of 2 x 2."""
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))


def random_image(*shape: int) -> Tensor:
    """The same float64 values each time."""
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.3


def randomise_slopes(network: nn.Module) -> nn.Module:
    """Slopes of trainable activations far from their defaults."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in network.modules():
            for name in ("alpha", "beta"):
                if hasattr(module, name):
                    getattr(module, name).uniform_(0.2, 1.4, generator=generator)
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(0.1, 0.5, generator=generator)
    return network


def counts(parts) -> list[int]:
    """Trainable parameters of each part."""
    return [parameter_count(part) for part in parts]


def watch(**modules: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The first input and the output of each module, filled in when the network runs."""
    seen = {}

    def keep(name):
        return lambda module, inputs, output: seen.update({name: (inputs[0], output)})

    for name, module in modules.items():
        module.register_forward_hook(keep(name))
    return seen
