"""How a network is applied to a volume: exactly, or in windows."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.errors import RunError
from cristae.inference.config import Application, PredictConfig
from cristae.inference.locality import Locality
from cristae.inference.windows import Windows
from cristae.models.form import NetworkConfig


def choose_application(settings: PredictConfig, config: NetworkConfig, locality: Locality) -> Application:
    """How to apply a network where validation has not compared the ways.

    Raises:
        RunError: It is to be applied exactly and cannot be.
    """
    if settings.windows == "auto":
        return "exact" if locality.local else config.blend
    if settings.windows == "exact" and not locality.local:
        raise RunError(
            f"predict.windows: the network cannot be applied exactly, because {locality.reason}; "
            f"set it to auto, which takes {config.blend} here"
        )
    return settings.windows


def windows_of(application: Application, size: Sequence[int], locality: Locality) -> Windows | None:
    """The windows of an application; None for the exact one.

    Args:
        application: What was chosen.
        size: Of the training patches, (y, x) or (z, y, x): the output of one forward pass.
        locality: Of the network.
    """
    if application == "exact":
        return None
    z, y, x = (1,) * (3 - len(size)) + tuple(size)
    if any(locality.margin):
        z, y, x = (locality.good_side(axis, side) for axis, side in enumerate((z, y, x)))
    return Windows(application, (z, y, x), locality.ndim)
