"""The residual-encoder U-Net of nnU-Net (Isensee et al. 2024). Counts: its published code less one output."""

from cristae.models import ResEncUNetConfig
from network_cases import Count, Small

BLOCKS = (1, 2)
BEHIND_ZERO = frozenset(
    f"encoder.{stage}.{block}.{name}"
    for stage in range(4)
    for block in range(BLOCKS[min(stage, 1)])
    for name in ("first.0.weight", "first.0.bias", "first.1.weight", "first.1.bias", "second.0.weight", "second.0.bias")
)
"""Blocks begin as their shortcut, so at first no gradient gets behind the factor 0 of their last normalisation."""

PROSTATE = ResEncUNetConfig(ndim=3, window_vox=(20, 320, 256), anisotropy=3.6 / 0.62)

SMALL = {
    "resenc_unet": Small(
        ResEncUNetConfig(base=4, window_vox=(32, 32), blocks=BLOCKS),
        outputs=2,
        unreached=BEHIND_ZERO,
        overfit=ResEncUNetConfig(base=8, window_vox=(64, 64), blocks=BLOCKS),
    ),
    "resenc_unet-3d": Small(
        ResEncUNetConfig(ndim=3, base=2, window_vox=(8, 32, 32), anisotropy=4, blocks=BLOCKS, most=8),
        outputs=2,
        unreached=BEHIND_ZERO,
    ),
    "resenc_unet-shallow": Small(
        ResEncUNetConfig(base=2, slices=3, blocks=(1,), strides=((1, 1), (4, 2)), kernels=((3, 5), (3, 3))),
        in_channels=3,
        outputs=1,
        unreached=frozenset(name for name in BEHIND_ZERO if name.startswith(("encoder.0.0", "encoder.1.0"))),
    ),
}

COUNTS = [
    Count(ResEncUNetConfig(), 105_915_302 - 513, label="resenc_unet"),
    Count(ResEncUNetConfig(ndim=3), 101_611_685 - 321, label="resenc_unet-3d"),
    Count(PROSTATE, 140_403_602 - 963, in_channels=2, out_channels=3, label="resenc_unet-prostate"),
]
