"""All further target channels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cristae.targets.boundaries import Boundaries
from cristae.targets.distances import Distances

Further = Annotated[Boundaries | Distances, Field(discriminator="name")]
"""Any further target channel, discriminated by `name`."""
