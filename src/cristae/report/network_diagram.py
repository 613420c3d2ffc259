"""Drawings of a network's stages and skip connections, as text and as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from cristae.models.stages import IMAGE, Skip, Stage, Trace, sides

_ASCII = str.maketrans("■╰╯╮─│┤┼┴┬◀", "#``,-|++++<")


@dataclass(frozen=True)
class _Rail:
    """The line of one source's skip connections, in a column beside the stages."""

    source: int
    targets: tuple[int, ...]
    column: int

    @property
    def end(self) -> int:
        return self.targets[-1]


def diagram_text(trace: Trace, *, width: int | None = None) -> str:
    """One row for each stage, indented by its scale, with lines that show what is handed on.

    Args:
        trace: The network.
        width: Cut what the stages do, the last column, such that lines are not longer than this.

    Returns:
        Lines with the stage's name, the channels and size that it hands on, its trainable parameters, conv GFLOP and
        what it does. Lines on the right are skip connections; they end in an arrow.
    """
    rails = _rails(trace.skips)
    trees = [f"{'  ' * trace.image_depth}■ image", *(_branch(trace, number) for number in range(len(trace.stages)))]
    sizes = [_size_text(*trace.image), *(_size_text(stage.channels, stage.size) for stage in trace.stages)]
    arcs = [_skip_text(rails, row) for row in range(IMAGE, len(trace.stages))]
    numbers = ["", *(f"{stage.parameters:,}" for stage in trace.stages)]
    flops = ["", *(f"{stage.conv_flop / 1e9:.2f}" for stage in trace.stages)]
    does = ["", *(", ".join(stage.operations) for stage in trace.stages)]
    columns = (
        ("stage", trees),
        ("channels x size", sizes),
        ("skips", arcs),
        ("parameters", numbers),
        ("GFLOP", flops),
    )
    padded = [_pad(title, cells, right=title in ("parameters", "GFLOP")) for title, cells in columns if any(cells)]
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, ["layers", *does], strict=True)]
    return "\n".join(line if not width or len(line) <= width else f"{line[: width - 3]}..." for line in lines) + "\n"


def plain_lines(text: str) -> str:
    """A drawing with ASCII characters for its lines, for terminals and files that have no others."""
    return text.translate(_ASCII)


def _pad(title: str, cells: list[str], *, right: bool) -> list[str]:
    width = max(map(len, (title, *cells)))
    return [cell.rjust(width) if right else cell.ljust(width) for cell in (title, *cells)]


def _branch(trace: Trace, number: int) -> str:
    """A stage's mark at its depth, joined to the one above if it reads that one's output."""
    stage = trace.stages[number]
    above = trace.stages[number - 1].depth if number else trace.image_depth
    indent, name = "  " * stage.depth, stage.name
    steps = stage.depth - above
    if number - 1 not in stage.reads or steps == 0:
        return f"{indent}■ {name}"
    if steps > 0:
        return f"{'  ' * above}╰{'─' * (2 * steps - 1)}■ {name}"
    return f"{indent}■{'─' * (-2 * steps - 1)}╯ {name}"


def _rails(skips: tuple[Skip, ...]) -> list[_Rail]:
    """A column for each source, short lines inside, such that lines in one column do not touch."""
    spans = sorted(
        ((source, tuple(skip.target for skip in skips if skip.source == source)) for source in _sources(skips)),
        key=lambda span: (span[1][-1] - span[0], span[0]),
    )
    rails: list[_Rail] = []
    for source, targets in spans:
        taken = {rail.column for rail in rails if rail.source <= targets[-1] and source <= rail.end}
        rails.append(_Rail(source, targets, next(n for n in range(len(spans)) if n not in taken)))
    return rails


def _sources(skips: tuple[Skip, ...]) -> list[int]:
    return sorted({skip.source for skip in skips})


def _skip_text(rails: list[_Rail], row: int) -> str:
    """The part of the skip connections' lines that is in one row of the drawing."""
    if not rails:
        return ""
    touching = {rail.column: rail for rail in rails if row == rail.source or row in rail.targets}
    last = max(touching, default=-1)
    arrives = any(row in rail.targets for rail in touching.values())
    cells = ["◀─" if arrives else "──" if touching else "  "]
    for column in range(1 + max(rail.column for rail in rails)):
        passing = any(rail.column == column and rail.source < row < rail.end for rail in rails)
        after = "─" if column < last else " "
        if column in touching:
            cells.append(_joint(touching[column], row, goes_on=column < last) + after)
        else:
            cells.append(("│" if passing else "─" if column < last else " ") + after)
    return "".join(cells)


def _joint(rail: _Rail, row: int, *, goes_on: bool) -> str:
    if row == rail.source:
        return "┬" if goes_on else "╮"
    if row == rail.end:
        return "┴" if goes_on else "╯"
    return "┼" if goes_on else "┤"


def _size_text(channels: int, size: tuple[int, ...]) -> str:
    return f"{channels} x {' x '.join(map(str, size))}"


_BOX, _HEIGHT, _GAP, _STEP, _EDGE = 104, 50, 30, 82, 24
"""Sizes of the SVG drawing in pixels: a stage's box, the gap between boxes, the step between scales, the border."""
_FILL = ("#e8f1fa", "#d3e4f5", "#bcd5ee", "#a3c4e5", "#8ab3dc", "#71a1d1", "#5a8fc4")


def diagram_svg(trace: Trace, title: str) -> str:
    """The same as a drawing: stages from left to right, coarser ones lower, skip connections dashed.

    Args:
        trace: The network.
        title: What the drawing shows, for readers that cannot see it.

    Returns:
        A complete SVG document.
    """
    stages = trace.stages
    lift = max((_lift(stages, skip) for skip in trace.skips), default=0)
    width = 2 * _EDGE + (len(stages) + 2) * (_BOX + _GAP) - _GAP
    height = 2 * _EDGE + lift + max(trace.image_depth, *(stage.depth for stage in stages)) * _STEP + _HEIGHT
    top = _EDGE + lift
    places = {number: (_left(number), top + stage.depth * _STEP) for number, stage in enumerate(stages)}
    places[IMAGE] = (_left(IMAGE), top + trace.image_depth * _STEP)
    places[len(stages)] = (_left(len(stages)), places[len(stages) - 1][1])
    parts = [_arrow(places, number - 1, number) for number in range(len(stages)) if number - 1 in stages[number].reads]
    parts += [_arrow(places, len(stages) - 1, len(stages))]
    parts += [_skip(stages, places, skip) for skip in trace.skips]
    parts += [_box(places[IMAGE], "image", *trace.image, "#ffffff", "")]
    parts += [
        _box(places[n], s.name, s.channels, s.size, _FILL[min(s.depth, len(_FILL) - 1)], ", ".join(s.operations))
        for n, s in enumerate(stages)
    ]
    parts += [_box(places[len(stages)], "logits", *trace.logits, "#ffffff", "")]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12" text-anchor="middle">\n'
        f"<title>{escape(title)}</title>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#44546a"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        '<g fill="none" stroke="#44546a" stroke-width="1.4">\n' + "\n".join(parts[: -len(stages) - 2]) + "\n</g>\n"
        '<g fill="#1b2530">\n' + "\n".join(parts[-len(stages) - 2 :]) + "\n</g>\n</svg>\n"
    )


def _left(number: int) -> int:
    return _EDGE + (number + 1) * (_BOX + _GAP)


def _box(place: tuple[int, int], name: str, channels: int, size: tuple[int, ...], fill: str, does: str) -> str:
    x, y = place
    middle = x + _BOX // 2
    short = name if len(name) <= 16 else f"{name[:15]}…"
    return (
        f"<g><title>{escape(f'{name}: {does}' if does else name)}</title>"
        f'<rect x="{x}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="5" fill="{fill}" stroke="#44546a"/>'
        f'<text x="{middle}" y="{y + 15}" font-weight="600">{escape(short)}</text>'
        f'<text x="{middle}" y="{y + 30}">{channels}</text>'
        f'<text x="{middle}" y="{y + 44}" font-size="11">{sides(size)}</text></g>'
    )


def _arrow(places: dict[int, tuple[int, int]], source: int, target: int) -> str:
    """From one stage to the next."""
    (x0, y0), (x1, y1) = places[source], places[target]
    half, turn = _HEIGHT // 2, x0 + _BOX + _GAP // 2
    return f'<path d="M{x0 + _BOX} {y0 + half}H{turn}V{y1 + half}H{x1}" marker-end="url(#tip)"/>'


def _is_straight(stages: tuple[Stage, ...], skip: Skip) -> bool:
    """Whether both ends are at one height and everything between them is lower."""
    if skip.source == IMAGE or stages[skip.source].depth != stages[skip.target].depth:
        return False
    return all(stage.depth > stages[skip.source].depth for stage in stages[skip.source + 1 : skip.target])


def _lift(stages: tuple[Stage, ...], skip: Skip) -> int:
    """How far a skip connection that is not straight rises above its higher end, over everything between."""
    return 0 if _is_straight(stages, skip) else 14 + 7 * (skip.target - skip.source)


def _skip(stages: tuple[Stage, ...], places: dict[int, tuple[int, int]], skip: Skip) -> str:
    (x0, y0), (x1, y1) = places[skip.source], places[skip.target]
    note = f"<title>{skip.channels} channels</title>" if skip.channels else ""
    if _is_straight(stages, skip):
        y = y0 + _HEIGHT // 3
        line = f"M{x0 + _BOX} {y}H{x1}"
    else:
        from_x, to_x = x0 + 2 * _BOX // 3, x1 + _BOX // 3
        peak = min(places[n][1] for n in range(skip.source, skip.target + 1)) - 4 * _lift(stages, skip) // 3
        line = f"M{from_x} {y0}C{from_x} {peak} {to_x} {peak} {to_x} {y1}"
    return f'<path d="{line}" stroke-dasharray="5 4" stroke="#b5651d" marker-end="url(#tip)">{note}</path>'
