"""2D-3D + 3x3x3 and its baselines (Guay et al. 2021)."""

from cristae.models import DeepVessConfig, Hybrid2D3DConfig, Hybrid2D3DPortConfig, UNet3DConfig, UNetValidConfig
from network_cases import Count, Small

RELEASED = Hybrid2D3DConfig.variants["released"]

SMALL = {
    "hybrid_2d3d": Small(Hybrid2D3DConfig(base=4), sizes=((3, 20, 12), (5, 12, 28), (1, 12, 12)), outputs=2),
    "hybrid_2d3d-released": Small(Hybrid2D3DConfig(base=4, **RELEASED), sizes=((3, 20, 12), (1, 12, 12)), outputs=2),
    "hybrid_2d3d-no-pyramid": Small(Hybrid2D3DConfig(base=4, pyramid=False), sizes=((3, 20, 12),)),
    "hybrid_2d3d-padded": Small(
        Hybrid2D3DConfig(base=4, padded=True, convs_3x3x3=False, symmetric_ups=True, feed="sigmoid"), outputs=2
    ),
    "hybrid_2d3d_port": Small(Hybrid2D3DPortConfig(base=4), outputs=2),
    "hybrid_2d3d_port-not-shared": Small(Hybrid2D3DPortConfig(base=4, shared=False), outputs=2),
    "unet_valid": Small(UNetValidConfig(base=2)),
    "unet_valid-shallow": Small(UNetValidConfig(base=4, depth=3)),
    "unet_3d-thin": Small(UNet3DConfig(base=4), sizes=((3, 12, 8), (1, 8, 16))),
    "unet_3d-thin-four-scales": Small(UNet3DConfig(base=2, depth=4), sizes=((3, 20, 12), (1, 12, 12))),
    "unet_3d-thin-padded": Small(UNet3DConfig(base=4, padded=True)),
    "unet_3d-thick": Small(UNet3DConfig(base=4, shape="thick")),
    "deepvess": Small(DeepVessConfig(base=4, hidden=32), overfit_size=(1, 5, 5)),
}

COUNTS = [
    Count(Hybrid2D3DConfig(), 10_267_022, out_channels=7),
    Count(Hybrid2D3DConfig(symmetric_ups=True), 10_487_278, out_channels=7),
    Count(Hybrid2D3DConfig(pyramid_convs=(3, 7)), 11_152_014, out_channels=7),
    Count(Hybrid2D3DConfig(**RELEASED), 10_283_406, out_channels=7, label="hybrid_2d3d-released"),
    Count(Hybrid2D3DConfig(convs_3x3x3=False), 9_916_238, out_channels=7),
    Count(
        Hybrid2D3DConfig(convs_3x3x3=False, **RELEASED),
        9_932_622,
        out_channels=7,
        label="hybrid_2d3d-released-planar",
    ),
    Count(Hybrid2D3DConfig(pyramid=False), 7_882_311, out_channels=7),
    Count(
        Hybrid2D3DConfig(pyramid=False, **RELEASED), 7_882_311, out_channels=7, label="hybrid_2d3d-released-no-pyramid"
    ),
    Count(Hybrid2D3DPortConfig(), 9_076_302, out_channels=7),
    Count(Hybrid2D3DPortConfig(shared=False), 11_399_438, out_channels=7),
    Count(UNetValidConfig(), 31_030_983, out_channels=7),
    Count(UNet3DConfig(), 8_130_759, out_channels=7),
    Count(UNet3DConfig(base=32), 2_033_767, out_channels=7),
    Count(UNet3DConfig(depth=4), 33_430_215, out_channels=7),
    Count(UNet3DConfig(depth=4, base=32), 8_359_271, out_channels=7),
    Count(UNet3DConfig(shape="thick"), 8_294_599, out_channels=7),
    Count(UNet3DConfig(shape="thick", base=32), 2_074_727, out_channels=7),
    Count(DeepVessConfig(), 1_340_655, out_channels=7),
]
