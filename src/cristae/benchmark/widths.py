"""Networks made narrower or wider, all by the same factor."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cristae.errors import RecipeError
from cristae.models import NetworkConfig

_TRIED = 16
"""How far from the wanted width the nearest possible one may be."""


def scaled(network: NetworkConfig, factor: float) -> NetworkConfig:
    """A network with all its widths times a factor, rounded to what it can be, at least 1.

    Raises:
        RecipeError: It has no field for its width, or no width near the wanted one is possible.

    Example:
        >>> from cristae.models import network_config
        >>> scaled(network_config("seget", {}), 0.3).base
        4
    """
    fields = network.model_dump()
    if "base" in fields:
        return _nearest(network, round(fields["base"] * factor))
    if "widths" in fields:
        widths = [max(1, round(width * factor)) for width in fields["widths"]]
        return _with(network, {"widths": widths})
    raise RecipeError(f"width: '{fields['name']}' has no field for its width; leave `width` out, or this network")


def _nearest(network: NetworkConfig, wanted: int) -> NetworkConfig:
    for base in sorted(range(max(1, wanted - _TRIED), wanted + _TRIED + 1), key=lambda base: abs(base - wanted)):
        try:
            return _with(network, {"base": base})
        except ValidationError:
            continue
    raise RecipeError(f"width: '{network.model_dump()['name']}' cannot have a width near {wanted}")


def _with(network: NetworkConfig, changes: dict[str, Any]) -> NetworkConfig:
    found: NetworkConfig = type(network).model_validate({**network.model_dump(by_alias=True), **changes})
    return found
