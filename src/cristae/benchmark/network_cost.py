"""How large the network of a cell is, and what a patch costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from cristae.classical.config import RandomForestConfig
from cristae.errors import NetworkError
from cristae.recipe.recipe import Recipe
from cristae.sampling import as_triple


@dataclass(frozen=True)
class NetworkCost:
    """Of one recipe; None where it has no network, or that cannot be measured."""

    network: str
    parameters: int | None = None
    conv_gflop: float | None = None
    """Of one training patch: its forward pass."""
    patch: str = ""
    """The patch (z, y, x)."""
    epochs: int | None = None
    patch_vox: int | None = None
    batch_size: int | None = None


def cost_of(recipe: Recipe) -> NetworkCost:
    """Measure the network of a recipe, which is complete, on shapes alone."""
    if isinstance(recipe.model, RandomForestConfig):
        return NetworkCost(recipe.model.name)
    from cristae.inference.catalogue import measure_network

    options = recipe.network.model_dump(mode="json", exclude_defaults=True)
    name = str(recipe.network.model_dump()["name"])
    options.pop("name", None)
    size = as_triple(tuple(recipe.sampling.size or recipe.network.window))
    assert recipe.data.classes is not None, "the recipe is complete"
    training = recipe.training
    known = " x ".join(map(str, size)), training.epochs, prod(size), training.batch_size
    try:
        found = measure_network(
            name,
            options,
            size=recipe.sampling.size,
            in_channels=recipe.in_channels,
            out_channels=recipe.data.classes.n_logits,
        )
    except NetworkError:  # a network of one's own is in no catalogue
        return NetworkCost(name, None, None, *known)
    return NetworkCost(name, found.facts.parameters, found.facts.conv_gflop, *known)
