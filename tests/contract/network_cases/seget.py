"""SegET and its baselines (Zhang et al. 2018)."""

from cristae.models import DeepLabVGGConfig, FCN8sConfig, SegETConfig, SegNetConfig, UNetBNConfig
from network_cases import Count, Small

SMALL = {
    "deeplab_vgg": Small(DeepLabVGGConfig(base=4)),
    "deeplab_vgg-split": Small(DeepLabVGGConfig(base=4, split=(2, 2, 3, 3, 3, 3, 3, 4), conv_bias=True)),
    "fcn8s": Small(FCN8sConfig(base=2), dropout=True),
    "fcn8s-batch-norm": Small(FCN8sConfig(base=2, batch_norm=True), dropout=True),
    "fcn8s-spatial-dropout": Small(FCN8sConfig(base=2, spatial_dropout=True), dropout=True),
    "seget": Small(SegETConfig(base=4)),
    "seget-quarter-skip": Small(SegETConfig(base=4, skip_width="quarter")),
    "seget-side-branch": Small(SegETConfig(base=4, skip_position="side_branch", skip_width="full")),
    "seget-double-down": Small(SegETConfig(base=4, down_width="double", centre_input="encoder_output")),
    "seget-centre": Small(SegETConfig(base=4, first_branch="1x1", branch_width="half", centre_width="half")),
    "seget-bare-fusion": Small(SegETConfig(base=4, fusion="two_steps_bare", conv_bias=False)),
    "seget-full-size": Small(SegETConfig(base=4, fusion="full_size", head="last_conv")),
    "segnet": Small(SegNetConfig(base=4)),
    "unet_bn": Small(UNetBNConfig(widths=(4, 8, 16))),
}

COUNTS = [
    Count(DeepLabVGGConfig(), 2_628_521, 5_592),
    Count(FCN8sConfig(), 8_395_155),
    Count(FCN8sConfig(batch_norm=True), 8_397_267, 2_112),
    Count(SegETConfig(), 4_838_329, 6_416),
    Count(SegNetConfig(), 1_844_833, 3_968),
    Count(UNetBNConfig(), 1_943_761, 2_944),
]
