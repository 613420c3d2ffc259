"""How a trained network is applied: the `predict:` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cristae.config import Config

Precision = Literal["fp32", "bf16"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


class PredictConfig(Config):
    """Settings of prediction that change its result or how it is computed."""

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """A voxel belongs to a sigmoid class when its probability is strictly above this value. Softmax classes take the
    most probable one instead."""
    precision: Precision = "fp32"
    """`fp32` is exact to rounding; `bf16` is faster on recent hardware and changes probabilities by about 0.01."""
    block_vox: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Largest block (z, y, x) that is written at once; None chooses it from the memory. The result does not depend
    on it beyond rounding."""
