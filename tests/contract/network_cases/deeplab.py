"""DeepLabv3+ as a baseline of dense cellular segmentation (Guay et al. 2021)."""

from cristae.models import DeepLabDRNConfig, DeepLabResNetConfig
from network_cases import Count, Small

SIZES = ((36, 36), (33, 46), (20, 37), (1, 1))
"""Multiples of the stride that are none of the encoder's, and other sizes."""

SMALL = {
    "deeplab_drn": Small(DeepLabDRNConfig(base=4), sizes=SIZES, dropout=True),
    "deeplab_resnet": Small(DeepLabResNetConfig(base=4), in_channels=1, sizes=SIZES, dropout=True),
}

COUNTS = [
    Count(DeepLabDRNConfig(), 40_733_463, 59_360, out_channels=7),
    Count(DeepLabResNetConfig(), 59_340_711, 109_536, out_channels=7),
]
