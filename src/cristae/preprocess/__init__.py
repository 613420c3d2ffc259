"""What happens to an image before a network sees it: intensity normalisation and the working voxel size."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from cristae.preprocess.fixed_range import FixedRange
from cristae.preprocess.form import NormalizeConfig
from cristae.preprocess.histogram_matching import HistogramMatching
from cristae.preprocess.local import Local
from cristae.preprocess.min_max import MinMax
from cristae.preprocess.percentiles import Percentiles
from cristae.preprocess.z_score import ZScore


def _percentiles_without_a_name(value: object) -> object:
    return {"name": "percentiles", **value} if isinstance(value, dict) and "name" not in value else value


Normalize = Annotated[
    FixedRange | HistogramMatching | Local | MinMax | Percentiles | ZScore,
    Field(discriminator="name"),
    BeforeValidator(_percentiles_without_a_name),
]
"""Any normalisation, discriminated by `name`; one without a name is that by percentiles."""

__all__ = [
    "FixedRange",
    "HistogramMatching",
    "Local",
    "MinMax",
    "Normalize",
    "NormalizeConfig",
    "Percentiles",
    "ZScore",
]
