import pytest
import torch
from torch import nn


@pytest.fixture
def randomised():
    """Give a network float64 weights and running statistics that are far from their defaults, in eval mode."""

    def randomise(network: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(7)
        network = network.double().eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    for tensor in (module.weight, module.running_var):
                        tensor.uniform_(0.5, 1.5, generator=generator)
                    for tensor in (module.bias, module.running_mean):
                        tensor.uniform_(-0.5, 0.5, generator=generator)
                elif getattr(module, "bias", None) is not None:
                    module.bias.uniform_(-0.5, 0.5, generator=generator)
        return network

    return randomise
