"""How far a training has moved the weights of each stage of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cristae.models.encoder import encoder_stages


def weights_moved(before: Mapping[str, Tensor], network: nn.Module) -> list[dict[str, Any]]:
    """The relative change of the parameters of each stage: |after - before| / |before|, Euclidean norms.

    Args:
        before: The parameters that the training began with, by name.
        network: With those that it is judged by.

    Returns:
        For each stage, in the order of the network, its name, its number of parameters and the change; None where all
        of its parameters were 0.
    """
    after = dict(network.named_parameters())
    stages: dict[str, list[str]] = {}
    of_encoder = {name: stage for stage, names in encoder_stages(after).items() for name in names}
    for name in after:
        stages.setdefault(of_encoder.get(name) or _part(name), []).append(name)
    rows = []
    for stage, names in stages.items():
        size = math.sqrt(sum(float(before[name].double().square().sum()) for name in names))
        step = math.sqrt(
            sum(float((after[name].detach().cpu().double() - before[name]).square().sum()) for name in names)
        )
        count = sum(after[name].numel() for name in names)
        rows.append({"stage": stage, "parameters": count, "relative_change": step / size if size else None})
    return rows


def _part(name: str) -> str:
    """`decoder.2` of a list of stages, `head` of what is no list."""
    path = name.split(".")
    return ".".join(path[: 2 if len(path) > 2 and path[1].isdigit() else 1])
