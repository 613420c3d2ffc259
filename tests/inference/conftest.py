"""Small networks and images that the tests of this room share."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_networks import MITO, Pyramidal, member
from torch import Tensor

from cristae.data.classes import Classes
from cristae.data.image import Image, image_of_array
from cristae.inference.predictor import Member


@pytest.fixture
def pyramidal() -> Callable[..., Member]:
    def make(classes: Classes = MITO, seed: int = 0) -> Member:
        return member(Pyramidal(classes.n_logits, seed), stride=4, classes=classes)

    return make


@pytest.fixture
def make_member() -> Callable[..., Member]:
    return member


@pytest.fixture
def noise() -> Callable[..., Image]:
    def make(*shape: int, seed: int = 0) -> Image:
        grey = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        return image_of_array(grey, voxel_size_nm=(40.0, 10.0, 10.0))

    return make


def one_pass(member: Member, image: Image) -> Tensor:
    """Probabilities (K, Z, Y, X) by a single forward pass of each whole slice."""
    grey = member.normalizer.apply(torch.from_numpy(image.read().astype(np.float32)))
    with torch.inference_mode():
        logits = torch.stack([member.network(plane[None, None])[0] for plane in grey], dim=1)
    return torch.softmax(logits, 0) if member.classes.softmax else torch.sigmoid(logits)


@pytest.fixture
def whole() -> Callable[[Member, Image], Tensor]:
    return one_pass
