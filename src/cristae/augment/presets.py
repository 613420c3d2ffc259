"""Presets: lists of augmentations by name, the papers' among them; a recipe that is read holds their parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from cristae.problems import suggest

Parts = tuple[Mapping[str, Any], ...]

_FLIPS = {"name": "flip", "axes": ["y", "x"], "probability": 0.5}

PRESETS: Mapping[str, Parts] = {
    # Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, and the authors' code: one elastic map for all
    # volumes of an epoch; then, for each window, reflections and grey values. The code adds a part of the range of
    # the training volume, which is about 1 in the normalised image, and multiplies images whose mean is 0.
    "dense-cell": (
        {"name": "elastic", "amplitude_vox": 20, "spacing_vox": 40, "per": "epoch", "probability": 1},
        {"name": "flip", "axes": ["z", "y", "x"], "probability": 0.5},
        {"name": "brightness", "amount": 0.12, "probability": 1},
        {"name": "contrast", "amount": 0.2, "about": "mean", "probability": 1},
    ),
    # Khadangi et al. (2020), https://doi.org/10.1101/2020.07.15.203836, the notebooks: one draw for each image.
    "em-stellar": (
        {"name": "rotate", "degrees": 140, "probability": 1},
        {"name": "shift", "amount": 0.2, "unit": "side", "probability": 1},
        {"name": "shear", "degrees": 0.2, "probability": 1},
        {"name": "zoom", "factors": [0.8, 1.2], "per": "axis", "probability": 1},
        _FLIPS,
    ),
    # Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt: four directions equally often, then reflections.
    "fib-sem": (
        {"name": "rotate90", "probability": 0.75},
        {"name": "flip", "axes": ["x"], "probability": 0.5},
        {"name": "flip", "axes": ["y"], "probability": 0.5},
    ),
    # Defects of serial sections, for 3D networks and for 2D ones that see neighbouring slices.
    "sections": (
        {"name": "shifted_sections"},
        {"name": "missing_sections"},
        {"name": "duplicated_sections"},
        {"name": "blurred_sections"},
        {"name": "contrast_jumps"},
    ),
    # SegET used no augmentation.
    "seget": (),
    # In-plane parts for 2D and 3D patches, the grey values in the order in which a microscope makes them.
    "strong": (
        _FLIPS,
        {"name": "rotate90"},
        {"name": "rotate", "degrees": 180, "probability": 0.3},
        {"name": "zoom", "factors": [0.7, 1.4], "per": "patch", "probability": 0.3},
        {"name": "elastic", "per": "patch", "probability": 0.3},
        {"name": "blur", "probability": 0.2},
        {"name": "noise", "amount": 0.08, "probability": 0.3},
        {"name": "local_contrast", "probability": 0.2},
        {"name": "contrast", "amount": 0.3, "probability": 0.4},
        {"name": "brightness", "amount": 0.15, "probability": 0.4},
        {"name": "gamma", "amount": 0.35, "probability": 0.3},
    ),
}
"""The parts of each preset, as they would be written in a recipe, in order."""


def parts_of(name: str) -> Parts:
    """The parts of a preset.

    Raises:
        ValueError: There is no such preset.
    """
    if name not in PRESETS:
        hint = suggest(name, list(PRESETS)) or "; an augmentation is written {name: " + name + "}"
        raise ValueError(f"unknown preset '{name}'{hint} (presets are: {', '.join(PRESETS)})")
    return PRESETS[name]


@dataclass(frozen=True)
class PresetOrPart:
    """Annotates an augmentation in a list: the name of a preset stands for all its parts.

    Each item is validated where it is written, so that a problem is told at its own line; `flattened` makes one list.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_validated, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [_names(), handler(schema)]}


@dataclass(frozen=True)
class PresetOrList:
    """Annotates a list of augmentations: the name of a preset alone stands for a list of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        flat = core_schema.no_info_after_validator_function(_flattened, handler(source))
        return core_schema.no_info_before_validator_function(_listed, flat)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [_names(), handler(schema)]}


def _names() -> dict[str, Any]:
    return {"type": "string", "enum": list(PRESETS), "description": "A preset, which stands for its parts."}


def _validated(value: Any, validate: Callable[[Any], Any]) -> Any:
    """An augmentation, or a tuple of the parts of a preset."""
    name = value.get("name") if isinstance(value, dict) else None
    if isinstance(name, str) and name in PRESETS:
        raise ValueError(f"'{name}' is a preset; write its name alone, as in [{name}]")
    if isinstance(value, str) and value not in PRESETS and _is_part(value, validate):
        raise ValueError(f"'{value}' is an augmentation, not a preset; write {{name: {value}}}")
    return tuple(validate(dict(part)) for part in parts_of(value)) if isinstance(value, str) else validate(value)


def _is_part(name: str, validate: Callable[[Any], Any]) -> bool:
    try:
        validate({"name": name})
    except ValueError:
        return False
    return True


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        parts_of(value)
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of augmentations and presets, or one preset ({', '.join(PRESETS)})")
    return value


def _flattened(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(item if isinstance(item, tuple) else (item,) for item in items))
