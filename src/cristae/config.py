"""The base of everything that people write in a recipe."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen part of a recipe: unknown fields are errors, docstrings under fields are their help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )
