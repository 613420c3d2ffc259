"""The networks of Meyer et al. (2021)."""

from cristae.models import EfficientUNetConfig, UNetFIBSEMConfig
from network_cases import Count, Small

NARROW = {"width": 0.1, "depth": 0.5, "decoder_widths": (12, 10, 8, 6, 4)}

SMALL = {
    "unet_fibsem": Small(
        UNetFIBSEMConfig(widths=(4, 8, 16)), dropout=True, overfit=UNetFIBSEMConfig(widths=(8, 16, 32))
    ),
    "efficient_unet": Small(
        EfficientUNetConfig(**NARROW, stochastic_depth=0.3), dropout=True, overfit=EfficientUNetConfig(**NARROW)
    ),
    "efficient_unet-three": Small(
        EfficientUNetConfig(**NARROW, stochastic_depth=0, keras_rescale=True, slices=3), in_channels=3
    ),
}

COUNTS = [
    Count(UNetFIBSEMConfig(), 31_042_564, 11_776, in_channels=1, out_channels=4),
    Count(UNetFIBSEMConfig(), 31_043_716, 11_776, in_channels=3, out_channels=4),
    Count(EfficientUNetConfig(), 32_877_938, 127_184, in_channels=1, out_channels=4),
    Count(EfficientUNetConfig(), 32_877_932, 127_184, in_channels=3, out_channels=4),
]
