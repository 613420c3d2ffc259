"""The base of everything that people write in a recipe, and of facts that are read back from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cristae.errors import RunError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Facts = TypeVar("Facts", bound=DataclassInstance)


class Config(BaseModel):
    """A frozen part of a recipe: unknown fields are errors, docstrings under fields are their help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )


def without(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Dumped fields without those of `defaults` that have the value there, such as fields that earlier versions did not
    have.

    Example:
        >>> without({"trees": 100, "skeleton": False}, {"skeleton": False})
        {'trees': 100}
    """
    return {name: value for name, value in fields.items() if name not in defaults or value != defaults[name]}


def facts_from(kind: type[Facts], content: object, name: str) -> Facts:
    """A dataclass from what was stored of it; every field must be what its annotation says.

    Args:
        kind: The dataclass.
        content: A mapping of its fields.
        name: What messages call it.

    Raises:
        RunError: A field is missing, unknown or wrong.
    """
    try:
        facts: Facts = _adapter(kind).validate_python(content)
    except ValidationError as error:
        raise RunError(problem_of(error, name)) from None
    known = {field.name for field in fields(kind)}
    unknown = [field for field in content if field not in known] if isinstance(content, dict) else []
    if unknown:
        raise RunError(f"{name}.{unknown[0]}: is unknown")
    return facts


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def problem_of(error: ValidationError, name: str) -> str:
    """The first thing that pydantic found wrong in `name`, as `name.field.0: what is wrong`."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, (name, *first["loc"])))
    found = "" if first["type"] == "missing" else f", found {str(first['input'])[:40]}"
    return f"{place}: {first['msg']}{found}"
