"""What `make_results.py` trains: recipes, what is changed in them, and the volume that all are scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cristae.data.volume import Volume


@dataclass(frozen=True)
class Variant:
    """A recipe of the folder `recipes` with changes, each as after `--set`."""

    recipe: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """Variants that are compared."""

    title: str
    text: str
    """What is asked, and what was done."""
    test: Callable[[], Volume]
    """The volume with labels that all runs are scored on."""
    variants: Mapping[str, Variant]
    settings: tuple[str, ...] = ()
    """Changes of all variants."""
    seeds: int = 3
    best: int | None = None
    """How many runs of each variant count, by their F1 on the validation regions; None counts all."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Variants whose difference is shown."""


EXPERIMENTS: dict[str, Experiment] = {}
