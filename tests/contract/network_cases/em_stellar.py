"""The networks of EM-stellar (Khadangi et al. 2020 and 2021) and CDeep3M (Haberl et al. 2018)."""

from cristae.models import (
    CDeep3MConfig,
    EMNetConfig,
    ResNet50UNetConfig,
    ResNetSmallConfig,
    SegNetUpsamplingConfig,
    UNetStellarConfig,
    VGGUNetConfig,
)
from network_cases import Count, Small

WITH_DROPOUT = {"v1_2x", "v1_4x", "v1_bn", "v2_4x"}

SMALL = {
    f"emnet-{variant}": Small(
        EMNetConfig(variant=variant, base=2),
        dropout=variant in WITH_DROPOUT,
        overfit=EMNetConfig(variant=variant, base=8),
    )
    for variant in ("v1_2x", "v1_4x", "v1_bn", "v1_bn_2x", "v2", "v2_2x", "v2_4x")
} | {
    "unet_stellar": Small(UNetStellarConfig(base=2), dropout=True, overfit=UNetStellarConfig(base=8)),
    "unet_stellar-plain": Small(UNetStellarConfig(base=2, norm="none"), dropout=True),
    "unet_stellar-prelu": Small(UNetStellarConfig(base=2, activation="prelu"), dropout=True),
    "unet_stellar-spatial-dropout": Small(UNetStellarConfig(base=2, spatial_dropout=True), dropout=True),
    "vgg_unet": Small(VGGUNetConfig(base=2), overfit=VGGUNetConfig(base=8)),
    "resnet50_unet": Small(ResNet50UNetConfig(base=2), overfit=ResNet50UNetConfig(base=8)),
    "resnet_small": Small(ResNetSmallConfig(base=2), overfit=ResNetSmallConfig()),
    "segnet_upsampling": Small(SegNetUpsamplingConfig(base=2), overfit=SegNetUpsamplingConfig(base=16)),
    "cdeep3m": Small(CDeep3MConfig(base=2), in_channels=1, overfit=CDeep3MConfig(base=8)),
    "cdeep3m-3fm": Small(CDeep3MConfig(base=2, slices=3), in_channels=3),
    "cdeep3m-5fm": Small(CDeep3MConfig(base=2, slices=5), in_channels=5, out_channels=1),
}

COUNTS = [
    Count(EMNetConfig(variant="v1_2x"), 7_010_377, 2_884, conv_gflop=141.643, label="emnet-v1_2x"),
    Count(EMNetConfig(variant="v1_4x"), 28_012_681, 5_764, conv_gflop=565.813),
    Count(EMNetConfig(variant="v1_bn"), 5_394_649, 7_300, conv_gflop=111.746),
    Count(EMNetConfig(variant="v1_bn_2x"), 6_797_801, 10_276, conv_gflop=112.987),
    Count(EMNetConfig(variant="v2"), 7_576_201, 3_652, conv_gflop=160.593),
    Count(EMNetConfig(variant="v2_2x"), 14_871_977, 4_036, conv_gflop=298.786),
    Count(EMNetConfig(variant="v2_4x"), 33_827_209, 3_844, conv_gflop=372.120),
    Count(UNetStellarConfig(norm="none"), 31_031_685, 0, conv_gflop=436.846),
    Count(UNetStellarConfig(), 31_045_385, 13_700, conv_gflop=436.846),
    Count(UNetStellarConfig(activation="prelu"), 31_052_235, 13_700, conv_gflop=436.846),
    Count(VGGUNetConfig(), 25_987_913, 6_148, conv_gflop=299.944),
    Count(ResNet50UNetConfig(), 40_980_993, 59_264),
    Count(ResNet50UNetConfig(), 40_987_265, 59_264, in_channels=3),
    Count(ResNetSmallConfig(), 2_737_825, 14_336, conv_gflop=17.762),
    Count(SegNetUpsamplingConfig(), 7_809_347, 8_194, conv_gflop=87.141),
    Count(CDeep3MConfig(slices=1), 24_002_804, 26_056, in_channels=1, conv_gflop=182.491),
    Count(CDeep3MConfig(slices=3), 24_021_812, 26_056, in_channels=3, conv_gflop=185.096),
    Count(CDeep3MConfig(slices=5), 24_040_244, 26_056, in_channels=5, conv_gflop=187.625),
]
