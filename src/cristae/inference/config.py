"""How a trained network is applied: the `predict:` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cristae.config import Config

Precision = Literal["fp32", "bf16"]
Application = Literal["exact", "gaussian", "centre_third", "farthest", "tiles"]
"""As in one pass over the whole volume, or in windows that are joined by one of the rules of `inference.windows`."""
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


class PredictConfig(Config):
    """Settings of prediction that change its result or how it is computed."""

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """A voxel belongs to a sigmoid class when its probability is strictly above this value. Softmax classes take the
    most probable one instead."""
    precision: Precision = "fp32"
    """`fp32` is exact to rounding; `bf16` is faster on recent hardware and changes probabilities by about 0.01."""
    windows: Literal["auto"] | Application = "auto"
    """How the network is applied: `exact`, as in one pass over the whole volume, which only networks that see a bounded
    neighbourhood can be; or in windows of the size of the training patches, joined by a rule: `gaussian` (half
    overlapping, averaged), `centre_third`, `farthest` (from the border of the window) or `tiles`. `auto` takes what was
    better on the validation regions where both were tried; else `exact` where it can be, and the rule of the network's
    paper where not."""
    block_vox: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Largest block (z, y, x) that is written at once; None chooses it from the memory. The result does not depend
    on it beyond rounding."""
