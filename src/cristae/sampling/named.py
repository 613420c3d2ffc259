"""Numbers that a recipe gives to classes by name, brought to the order in which classes are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cristae.data.classes import Classes
from cristae.errors import RecipeError

NO_CLASS = "none"
"""What recipes call the voxels that are in none of several overlapping classes."""


def counted_names(classes: Classes) -> tuple[str, ...]:
    """Names in the order of class counts; of overlapping classes, those without any come first.

    Example:
        >>> counted_names(Classes(names=("er", "mito"), exclusive=False))
        ('none', 'er', 'mito')
    """
    return classes.names if classes.exclusive else (NO_CLASS, *classes.names)


def by_class(given: Mapping[str, float], names: Sequence[str], field: str, *, default: float = 0) -> np.ndarray:
    """(K,) numbers in the order of `names`, `default` where none is given.

    Args:
        given: By class name.
        names: The classes, as `counted_names` gives them.
        field: What messages call the mapping.

    Raises:
        RecipeError: There is no class of a name.
    """
    unknown = [name for name in given if name not in names]
    if unknown:
        raise RecipeError(f"{field}: there is no class '{unknown[0]}'; the classes are {', '.join(names)}")
    return np.array([given.get(name, default) for name in names], np.float64)
