"""SegET and its baselines (Zhang et al. 2018)."""

from cristae.models import SegETConfig, UNetBNConfig
from network_cases import Count, Small

SMALL = {
    "seget": Small(SegETConfig(base=4)),
    "seget-quarter-skip": Small(SegETConfig(base=4, skip_width="quarter")),
    "seget-side-branch": Small(SegETConfig(base=4, skip_position="side_branch", skip_width="full")),
    "seget-double-down": Small(SegETConfig(base=4, down_width="double", centre_input="encoder_output")),
    "seget-centre": Small(SegETConfig(base=4, first_branch="1x1", branch_width="half", centre_width="half")),
    "seget-bare-fusion": Small(SegETConfig(base=4, fusion="two_steps_bare", conv_bias=False)),
    "seget-full-size": Small(SegETConfig(base=4, fusion="full_size", head="last_conv")),
    "unet_bn": Small(UNetBNConfig(widths=(4, 8, 16))),
}

COUNTS = [
    Count(SegETConfig(), 4_838_329, 6_416),
    Count(UNetBNConfig(), 1_943_761, 2_944),
]
