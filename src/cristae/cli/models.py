"""Verbs for networks."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cristae.cli.options import Json, print_json

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from cristae.inference.catalogue import ModelDescription, ModelFacts
    from cristae.models.stages import Layer

app = typer.Typer(help="Networks: list them, show one.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = (
    "network", "published", "image", "logits", "sizes", "parameters", "conv GFLOP", "receptive field", "stride",
    "predicted",
)  # fmt: skip


_PROSE = 118
"""Columns of text about a network."""


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Show every network and its variants. Costs are those of one image of the size in the column."""
    from cristae.workflows.models import list_models

    found = list_models()
    if as_json:
        print_json([one.to_dict() for one in found])
    elif sys.stdout.isatty():
        _print_table(found)
    else:
        for row in (_COLUMNS, *(_row(one) for one in found)):
            print("\t".join(row))


class _Sizes(TyperCommand):
    """Lets `--size` take as many numbers as the network has axes: every number that follows it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers after `--size`, as in `--size 32 128 128`, into one value."""
        joined: list[str] = []
        rest = list(args)
        while rest:
            joined.append(rest.pop(0))
            if joined[-1] == "--size":
                numbers = list(takewhile(str.isdecimal, rest))
                joined += [" ".join(numbers)] if numbers else []
                del rest[: len(numbers)]
        return super().parse_args(ctx, joined)


@app.command(cls=_Sizes)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network, see `cristae models list`.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change an option, such as base=8; may be repeated."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="[Z] Y X", help="Size of the image; the one that it is trained on by default."),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option("--channels", metavar="N", help="Channels of the image; by default the network's own."),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes",
            metavar="K",
            help="Logits: 1 for one class and background, else one each; as published by default.",
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write the diagram as an SVG file.")] = None,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Print the table of layers.")] = True,
    as_json: Json = False,
) -> None:
    """Show a network: facts, options, diagram, layers. All is measured for an image of the size asked for."""
    from cristae.workflows.models import describe_model, draw_model, model_options

    sides = None if size is None else _numbers(size)
    found = describe_model(name, model_options(changes or ()), size=sides, in_channels=channels, out_channels=classes)
    if svg is not None:
        draw_model(found, svg)
    if as_json:
        print_json(found.to_dict())
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(_encodable(description_text(found, layers=layers, width=width)), end="")


def description_text(found: ModelDescription, *, layers: bool = True, width: int | None = None) -> str:
    """A network for a terminal: facts, options, diagram and, if asked, the table of layers."""
    from cristae.report.network_diagram import diagram_text

    parts = [_facts_text(found), _options_text(found), diagram_text(found.trace, width=width)]
    if layers:
        parts.append(_layers_text(found))
    return "\n".join(parts)


def _facts_text(found: ModelDescription) -> str:
    facts = found.facts
    field = "the whole window" if facts.receptive_field is None else f"{_sides(facts.receptive_field)} voxels"
    per_pass = f"{facts.conv_gflop:,.2f} in convolutions"
    if facts.gflop > facts.conv_gflop:
        per_pass += f", {facts.gflop:,.2f} with matrix products"
    idle = found.trace.idle_parameters
    auxiliary = f" and {facts.auxiliary_outputs} auxiliary" if facts.auxiliary_outputs else ""
    outputs = f"1 output{auxiliary}"
    rows = [
        ("published", f"{facts.authors}{f' ({facts.year})' if facts.year else ''}, {facts.url}"),
        ("image", f"{facts.in_channels} x {_sides(facts.image_size)} (channels, {', '.join('zyx'[3 - facts.ndim :])})"),
        ("logits", f"{facts.out_channels} x {_sides(facts.logits_size)}"),
        ("image sizes", facts.image_sizes),
        ("parameters", f"{facts.parameters:,} trainable" + (f", {idle:,} of them only while training" if idle else "")),
        ("running statistics", f"{facts.buffers:,}"),
        ("GFLOP", per_pass),
        ("receptive field", field),
        ("total stride", _sides(facts.total_stride)),
        ("predicted", f"{_mode(facts)}: {facts.reason}"),
        ("while training", f"{outputs}, batches of at least {facts.smallest_batch}"),
    ]
    if facts.extra:
        rows.append(("needs", f'pip install "cristae[{facts.extra}]"'))
    text = [line for part in (facts.summary, *found.about.split("\n\n")) for line in textwrap.wrap(part, _PROSE)]
    return "\n".join([facts.id, *(f"  {line}" for line in text), *(f"  {key:20}{value}" for key, value in rows)]) + "\n"


def _options_text(found: ModelDescription) -> str:
    import json
    import textwrap

    lines = ["options"]
    for option in found.options:
        changed = "" if option.value == option.default else f", here {json.dumps(option.value)}"
        lines.append(f"  {option.name}: {option.kind}; default {json.dumps(option.default)}{changed}")
        lines += textwrap.wrap(option.help, 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _layers_text(found: ModelDescription) -> str:
    """Every layer with what it costs, and the sums of each stage."""
    trace = found.trace
    titles = ("layer", "type", "channels", "kernel", "output", "parameters")
    rows: list[tuple[str, ...]] = []
    for stage in trace.stages:
        rows += [_layer_row(trace.layers[number]) for number in stage.layers]
        rows.append((f"= {stage.name}", "", "", "", "", f"{stage.parameters:,}"))
    idle = [layer for layer in trace.layers if layer.idle]
    rows += [(layer.path, layer.kind, "", "", "only training", f"{layer.parameters:,}") for layer in idle]
    rows.append(("= all", "", "", "", "", f"{trace.parameters:,}"))
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = []
    for row in (titles, *rows):
        cells = [
            cell.rjust(width) if i == 5 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _layer_row(layer: Layer) -> tuple[str, ...]:
    words = [_sides(layer.kernel)] if layer.kernel else []
    words += [f"/{_sides(layer.stride)}"] if layer.stride and max(layer.stride) > 1 else []
    words += [f"dilated {_sides(layer.dilation)}"] if layer.dilation and max(layer.dilation) > 1 else []
    words += [f"in {layer.groups} groups"] if layer.groups > 1 else []
    return (
        layer.path or "-",
        layer.kind,
        f"{layer.in_channels} -> {layer.out_channels}",
        " ".join(words),
        _sides(layer.size),
        f"{layer.parameters:,}" if layer.parameters else "",
    )


def _row(facts: ModelFacts) -> tuple[str, ...]:
    return (
        facts.id,
        f"{facts.authors} {facts.year}",
        f"{facts.in_channels} x {_sides(facts.image_size)}",
        f"{facts.out_channels} x {_sides(facts.logits_size)}",
        facts.image_sizes,
        f"{facts.parameters:,}",
        f"{facts.conv_gflop:,.1f}",
        "window" if facts.receptive_field is None else _sides(facts.receptive_field),
        _sides(facts.total_stride),
        _mode(facts) if facts.installed else f"needs cristae[{facts.extra}]",
    )


_WIDE = 112
"""Columns of text from which a terminal shows the whole table."""


_ONLY_WIDE = ("logits", "sizes", "stride")


def _print_table(found: Sequence[ModelFacts]) -> None:
    """The list on a terminal: rounded, and without the columns that do not fit."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    titles = ["network", "published", "image", "logits", "sizes", "params", "GFLOP", "sees", "stride", "mode"]
    folding = ("sizes", "mode") if wide else ("published", "mode")
    for title in titles if wide else [title for title in titles if title not in _ONLY_WIDE]:
        justify: JustifyMethod = "right" if title in ("params", "GFLOP") else "left"
        table.add_column(title, justify=justify, no_wrap=title not in folding, overflow="fold")
    for one in found:
        table.add_row(*_short_row(one, wide=wide))
    console.print(table)
    console.print(
        f"{len(found)} rows. GFLOP: 2 x multiply-accumulates of the convolutions for one such image. Mode: whether "
        "large volumes are predicted in blocks, as if in one pass, or in overlapping windows. "
        "`cristae models show NAME` describes one in full; --json and pipes give exact numbers.",
        style="dim",
        markup=False,
        highlight=False,
    )


def _short_row(facts: ModelFacts, *, wide: bool) -> list[str]:
    same = facts.logits_size == facts.image_size
    first = facts.authors.removesuffix(" et al.").partition(",")[0]
    row = [facts.id, f"{first} {facts.year}", _sides(facts.image_size)]
    if wide:
        row += ["same" if same else _sides(facts.logits_size), facts.image_sizes]
    row += [f"{facts.parameters / 1e6:.1f} M", f"{facts.conv_gflop:,.1f}"]
    row.append("window" if facts.receptive_field is None else _sides(facts.receptive_field))
    if wide:
        row.append(_sides(facts.total_stride))
    return [*row, ("blocks" if facts.local else "windows") if facts.installed else f"needs [{facts.extra}]"]


def _mode(facts: ModelFacts) -> str:
    return "exact in blocks" if facts.local else f"in windows ({facts.blend.replace('_', ' ')})"


def _sides(size: Any) -> str:
    return "x".join(map(str, size))


def _encodable(text: str) -> str:
    """The text, with plain characters for lines where stdout cannot show them."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        from cristae.report.network_diagram import plain_lines

        return plain_lines(text)
    return text


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a size such as 512 512") from None
