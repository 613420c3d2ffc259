"""Targets: from the labels of a patch to how much each of its voxels counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cristae.targets.weighting import NoWeighting, SampleForegroundWeighting

Weighting = Annotated[NoWeighting | SampleForegroundWeighting, Field(discriminator="name")]
"""Any weighting, told apart by `name`."""

__all__ = ["NoWeighting", "SampleForegroundWeighting", "Weighting"]
