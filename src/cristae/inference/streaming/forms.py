"""The streamed forms of a network: one for each shape of its input, made when that comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from cristae.inference.streaming.graph import Folded
from cristae.inference.streaming.recording import NotStreamableError
from cristae.inference.streaming.streamed import Streamed, rows_of_strip

_KEPT = 8
"""Shapes that are remembered; blocks at the borders of a volume have others than those inside."""


class StreamedForms:
    """A network, streamed where its input is large and it can be."""

    def __init__(self, network: nn.Module, stride: int, strip_vox: int) -> None:
        """Begin; nothing is followed yet.

        Args:
            network: Moves to its device and to evaluation before `suited_to` is called.
            stride: Total stride along the first axis of the image.
            strip_vox: Voxels that stream through at a time; 0 for whole passes.
        """
        self._network = network
        self._stride = stride
        self._strip_vox = strip_vox
        self._forms: OrderedDict[tuple[tuple[int, ...], torch.device], nn.Module] = OrderedDict()
        self._folded: Folded = {}

    def streams(self, shape: Sequence[int]) -> bool:
        """Whether images of this shape (B, C, *S) are streamed."""
        return self.suited_to(shape) is not self._network

    def suited_to(self, shape: Sequence[int]) -> nn.Module:
        """What takes images of this shape (B, C, *S): the network itself, or a form of it that streams them."""
        rows = rows_of_strip(shape, self._strip_vox, self._stride)
        if rows is None or shape[0] > 1:
            return self._network
        device = next((one.device for one in self._network.parameters()), torch.device("cpu"))
        key = tuple(shape), device
        if key not in self._forms:
            self._forms[key] = self._follow(shape, rows)
            if len(self._forms) > _KEPT:
                self._forms.popitem(last=False)
        self._forms.move_to_end(key)
        return self._forms[key]

    def _follow(self, shape: Sequence[int], rows: int) -> nn.Module:
        try:
            return Streamed(self._network, shape, rows=rows, folded=self._folded)
        except NotStreamableError:
            return self._network
