"""Drawings of networks: exact text, and SVG whose boxes and lines are where they should be."""

import re
from xml.etree import ElementTree

import pytest

from cristae.models import SegETConfig, UNetBNConfig
from cristae.models.stages import IMAGE, Layer, Skip, Stage, Trace
from cristae.models.trace import trace
from cristae.report.network_diagram import diagram_svg, diagram_text, plain_lines

SVG = "{http://www.w3.org/2000/svg}"
UNET = """\
stage            channels x size  skips   parameters  GFLOP  layers
■ image          1 x 64 x 64
■ encoder.0      4 x 64 x 64      ────╮          204   0.00  2 conv 3x3
╰─■ encoder.1    8 x 32 x 32      ──╮ │          912   0.00  max pool 2, 2 conv 3x3
  ╰─■ encoder.2  16 x 16 x 16       │ │        3,552   0.00  max pool 2, 2 conv 3x3
  ■─╯ decoder.0  8 x 32 x 32      ◀─╯ │        2,296   0.00  up-conv 2x2, concat, 2 conv 3x3
■─╯ decoder.1    1 x 64 x 64      ◀───╯          593   0.00  up-conv 2x2, concat, 2 conv 3x3, conv 1x1
"""


def small_unet() -> Trace:
    return trace(UNetBNConfig(widths=(4, 8, 16)), 1, 1, (64, 64))


def made_up(depths: list[int], skips: list[tuple[int, int]], image_depth: int = 0) -> Trace:
    """A chain of stages at the given depths with the given skip connections."""
    stages = tuple(
        Stage(f"s{n}", depth, 1, (8, 8), (), 0, 0, (n,), tuple(sorted({n - 1, *(a for a, b in skips if b == n)})))
        for n, depth in enumerate(depths)
    )
    return Trace(
        image=(1, (8, 8)),
        logits=(1, (8, 8)),
        layers=(Layer("", "x"),) * len(depths),
        stages=stages,
        skips=tuple(Skip(a, b, 1) for a, b in sorted(skips)),
        image_depth=image_depth,
        conv_flop=0,
        flop=0,
    )


def test_a_unet_as_text() -> None:
    assert diagram_text(small_unet()) == UNET


def test_without_skips_there_is_no_column_for_them() -> None:
    text = diagram_text(made_up([0, 1], []))
    assert "skips" not in text
    assert text.splitlines()[3].startswith("╰─■ s1")


def test_stages_that_do_not_read_the_one_above_are_not_joined_to_it() -> None:
    lines = diagram_text(trace(SegETConfig(base=4), 1, 1, (64, 64))).splitlines()
    assert lines[-3].startswith("■─╯ decoder.3")
    assert lines[-2].startswith("  ■ fusion")
    assert lines[-1].startswith("■─╯ fusion")


def test_a_jump_over_scales_and_an_image_coarser_than_a_stage() -> None:
    text = diagram_text(made_up([1, 3, 0], [], image_depth=1))
    assert [line[:12].rstrip() for line in text.splitlines()[1:]] == [
        "  ■ image   ".rstrip(),
        "  ■ s0",
        "  ╰───■ s1",
        "■─────╯ s2",
    ]


@pytest.mark.parametrize(
    "skips",
    [
        [(0, 2), (0, 4), (1, 3), (2, 4)],
        [(IMAGE, 1), (IMAGE, 4), (0, 3), (1, 4), (2, 4)],
        [(a, b) for a in range(6) for b in range(a + 2, 8)],
    ],
)
def test_every_skip_can_be_followed(skips: list[tuple[int, int]]) -> None:
    """Walk along the drawn lines from each stage and arrive at exactly its targets."""
    drawn = made_up([0] * 8, skips)
    lines = [line.ljust(200) for line in diagram_text(drawn).splitlines()[1:]]
    begin = min(line.find("s0  1 x 8 x 8") for line in lines if "s0" in line) + len("s0  1 x 8 x 8")
    starts, ends, passes = "╮┬", "╯┴", "│"
    found = set()
    for row, line in enumerate(lines):
        for column in range(begin, 200):
            if line[column] in starts:
                below = row + 1
                while lines[below][column] in passes + "┤┼":
                    if lines[below][column] in "┤┼":
                        found.add((row - 1, below - 1))
                    below += 1
                assert lines[below][column] in ends
                found.add((row - 1, below - 1))
    assert found == set(skips)
    for _, target in skips:
        assert "◀" in lines[target + 1]


def test_width_cuts_the_last_column() -> None:
    lines = diagram_text(small_unet(), width=80).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[-1].endswith("...")
    assert lines[2] == UNET.splitlines()[2]


def test_plain_lines_are_ascii() -> None:
    assert plain_lines(diagram_text(small_unet())).isascii()


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    root = ElementTree.fromstring(svg)
    found = {}
    for group in root.iter(f"{SVG}g"):
        rect, texts = group.find(f"{SVG}rect"), group.findall(f"{SVG}text")
        if rect is not None and texts:
            found["|".join(text.text or "" for text in texts)] = tuple(
                float(rect.attrib[key]) for key in ("x", "y", "width", "height")
            )
    return found  # type: ignore[return-value]


def test_a_unet_as_a_drawing() -> None:
    svg = diagram_svg(small_unet(), "a <small> network & more")
    found = boxes(svg)
    assert list(found) == [
        "image|1|64x64",
        "encoder.0|4|64x64",
        "encoder.1|8|32x32",
        "encoder.2|16|16x16",
        "decoder.0|8|32x32",
        "decoder.1|1|64x64",
        "logits|1|64x64",
    ]
    heights = [y for _, y, _, _ in found.values()]
    assert heights[0] == heights[1] == heights[5] == heights[6] < heights[2] == heights[4] < heights[3]
    lefts = [x for x, *_ in found.values()]
    assert lefts == sorted(lefts)
    assert len(re.findall("stroke-dasharray", svg)) == 2
    assert len(re.findall('<path d="M[^"]*" marker-end', svg)) == 6
    assert ElementTree.fromstring(svg).findtext(f"{SVG}title") == "a <small> network & more"


def test_a_drawing_is_large_enough() -> None:
    for drawn in (small_unet(), made_up([0] * 8, [(a, b) for a in range(6) for b in range(a + 2, 8)])):
        svg = diagram_svg(drawn, "x")
        root = ElementTree.fromstring(svg)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for x, y, w, h in boxes(svg).values():
            assert 0 < x < x + w < width
            assert 0 < y < y + h < height
        for path in re.findall(r'<path d="(M[^"]*)"', svg):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
            if "C" in path:  # a Bezier curve rises to three quarters of its control points
                start, control = numbers[1], numbers[3]
                assert start - (start - control) * 3 / 4 > 0
