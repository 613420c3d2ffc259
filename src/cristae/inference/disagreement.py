"""How much the members of an ensemble disagree about each voxel: the information that the choice of a member carries.

It is the mutual information of the class of a voxel and the member that is asked (Smith and Gal 2018,
https://arxiv.org/abs/1803.08533, equation 4; members as in Lakshminarayanan et al. 2017,
https://arxiv.org/abs/1612.01474): the entropy of the mean probabilities less the mean entropy of each member's. It is 0
where all members give the same probabilities, however uncertain these are, and log(min(classes, members)) at most.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCALE = 255
"""Disagreement is stored as uint8: the fraction of its largest value, times this."""


class Disagreement:
    """A running sum over members, so that memory does not grow with their number."""

    def __init__(self, *, softmax: bool) -> None:
        """
        Args:
            softmax: Whether the channels are exclusive classes that add up to 1; otherwise each is a class of its own,
                there or not there, and the class that is disagreed about most counts.
        """
        self.softmax = softmax
        self._members = 0
        self._weights = 0.0
        self._mean: Tensor | None = None
        self._entropy: Tensor | None = None

    def add(self, probabilities: Tensor, weight: float) -> None:
        """Take a member's probabilities, float32 (K, Z, Y, X), which are left as they are."""
        entropy, mean = self._entropies(probabilities).mul_(weight), probabilities * weight
        self._entropy = entropy if self._entropy is None else self._entropy.add_(entropy)
        self._mean = mean if self._mean is None else self._mean.add_(mean)
        self._members += 1
        self._weights += weight

    def result(self) -> Tensor:
        """The fraction of the largest disagreement that so many members can have, from 0 to 1: float32 (Z, Y, X).

        Of one member it is 0.
        """
        assert self._mean is not None, "an ensemble has members"
        assert self._entropy is not None
        mean, classes = self._mean.div_(self._weights), self._mean.shape[0] if self.softmax else 2
        information = self._entropies(mean).sub_(self._entropy.div_(self._weights))
        largest = math.log(min(classes, self._members))
        if largest == 0:
            return torch.zeros_like(information[0])
        return information.amax(0).div_(largest).clamp_(0, 1)

    def _entropies(self, probabilities: Tensor) -> Tensor:
        """Natural entropy of each voxel: (1, Z, Y, X) with softmax, (K, Z, Y, X) without."""
        entropy: Tensor = torch.special.entr(probabilities)
        if self.softmax:
            return entropy.sum(0, keepdim=True)
        other: Tensor = torch.special.entr((1 - probabilities).clamp_(min=0))  # a mean may be above 1 by rounding
        return entropy.add_(other)


def bytes_per_vox(channels: int) -> int:
    """Memory for each voxel of a block: the mean and the entropies, those of a member, and what these are made of."""
    return 4 * (5 * channels + 2)
