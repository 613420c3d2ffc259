"""The networks of MONAI. Counts are those of its own modules; Swin UNETR with 48 channels has its authors' 62.2 M."""

from cristae.models import MonaiSegResNetConfig, MonaiSwinUNETRConfig, MonaiUNetPPConfig
from network_cases import Count, Small

SMALL = {
    "monai_segresnet": Small(
        MonaiSegResNetConfig(base=4, blocks=(1, 1, 2)),
        outputs=2,
        overfit=MonaiSegResNetConfig(base=8, blocks=(1, 1, 2)),
    ),
    "monai_segresnet-3d": Small(
        MonaiSegResNetConfig(ndim=3, base=4, blocks=(1, 1, 2), outputs=1, norm="instance"), outputs=1
    ),
    "monai_swin_unetr": Small(
        MonaiSwinUNETRConfig(base=12, depths=(2, 1, 1, 1), attention_window=4, drop_path=0.5), dropout=True
    ),
    "monai_swin_unetr-3d": Small(
        MonaiSwinUNETRConfig(ndim=3, base=12, depths=(2, 1, 1, 1), attention_window=4),
        sizes=((32, 32, 64), (5, 31, 33)),
    ),
    "monai_unetpp": Small(MonaiUNetPPConfig(base=4), outputs=4, overfit=MonaiUNetPPConfig(base=8)),
    "monai_unetpp-3d": Small(
        MonaiUNetPPConfig(ndim=3, base=2, norm="batch", dropout=0.2),
        sizes=((16, 32, 16), (3, 17, 30)),
        outputs=4,
        dropout=True,
    ),
}

COUNTS = [
    Count(MonaiSegResNetConfig(), 29_065_476, 15_872),
    Count(MonaiSegResNetConfig(ndim=3), 87_163_716, 15_872),
    Count(MonaiSwinUNETRConfig(), 6_302_203),
    Count(MonaiSwinUNETRConfig(ndim=3), 15_702_979),
    Count(MonaiSwinUNETRConfig(ndim=3, base=48), 62_187_296, out_channels=14),
    Count(MonaiUNetPPConfig(), 2_410_180),
    Count(MonaiUNetPPConfig(ndim=3), 6_979_844),
]
