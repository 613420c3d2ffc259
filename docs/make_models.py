"""Measures every network and writes the pages about them: `python docs/make_models.py`.

It writes the list behind `cristae models list`, the page about networks, and a diagram of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from cristae.inference.catalogue import CATALOGUE, ModelDescription, ModelFacts, measure_catalogue
from cristae.report.network_diagram import diagram_svg

DOCS = Path(__file__).parent
INTRODUCTION = """\
# Networks

This page is made by `docs/make_models.py` from the networks themselves.

```sh
cristae models list
cristae models show seget --size 1024 1024
```

`models show` measures a network for any image and any options, prints its layers and draws its diagram. A recipe
names a network with `model: {{name: seget}}` and sets its options beside the name. So it does with
[a network of your own](how-to/add-a-network.md).

## Which one?

This is advice. What decides is your own data: train two or three for a few epochs from
[one recipe](how-to/change-a-recipe.md#one-recipe-for-many-networks) and compare their scores and pictures.

| situation | network | why | on a processor alone |
|---|---|---|---|
| a few labelled slices | `random_forest`, then `unet_bn` | a forest learns from very few voxels; this U-Net is among \
the smallest | practical |
| thin, small structures in 2D tomograms | `seget` | made for them | 1 s a training step |
| anisotropic stack, slices thick | `unet_bn` with `slices: 3` | neighbours are seen at the cost of a 2D network | \
practical |
| the same, with many labelled slices | `hybrid_2d3d`, `resenc_unet` with `ndim: 3` | 3D only as far as the voxels \
allow | 40 s and 11 s a training step: wants a GPU |
| volume larger than memory | one predicted in *blocks* | the result is that of one pass; windows work too and are \
blended | as the network |
| many labelled slices and a GPU | `resenc_unet`, `unet_fibsem` | room for many parameters | 1.5 to 2 s a training \
step |
| repeating a paper | the network of that paper, below | defaults are its settings, and differences are stated | most \
want a GPU |

Times are for one patch of the published size in float32 on two cores of a server's processor, and vary by a factor of
two. Most 3D networks want a GPU at their published windows: `unet_3d` took 18 s to predict one patch and about 54 s to
learn from one, `seget` 0.4 s and 1.1 s. A smaller `sampling.size` makes them bearable, and they then see less.

## What the tables say

- **Image** is the size that a network is trained on when the recipe does not say, in the order y, x, or z, y, x, and
  the size of its output where that is smaller. Most networks pad inside and take any size; for the others sizes such
  as 188 + 16n are 188, 204, 220 and so on.
- **GFLOP** are 2 x multiply-accumulates of the convolutions for one such image, in units of 10^9. The matrix products
  of transformers come on top; `models show` lists them.
- **Sees** is the receptive field: the box around a voxel that holds everything its logits depend on.
- **Stride**: the layers work at sides that are multiples of it, and networks that take any size pad the image to them.
  Where volumes are predicted in blocks, an image moved by whole strides has its output moved by as many.
- **Predicted** says how large volumes are done. *Blocks*: the result is that of one pass over the whole volume.
  *Windows*: the network looks at its whole window, so overlapping windows are joined.
- Parameters are the trainable ones, for one logit unless the table states the logits that were published.

{count} networks and variants, ordered by the year of the paper.
"""
HEADER = "| network | image | parameters | GFLOP | sees | stride | predicted |\n|---|---|---:|---:|---|---|---|"


def files(described: Sequence[ModelDescription]) -> dict[Path, str]:
    """Everything that is made of what was measured, by path."""
    rows = [json.dumps(one.facts.to_dict(), ensure_ascii=False) for one in described]
    made = {CATALOGUE: "[\n" + ",\n".join(rows) + "\n]\n", DOCS / "models.md": page(described)}
    for one in first_of_each(described):
        made[DOCS / drawing(one)] = diagram_svg(one.trace, f"{one.facts.id}: {one.facts.summary}")
    return made


def page(described: Sequence[ModelDescription]) -> str:
    """The page about networks: a section for each paper, and in it one for each network."""
    parts = [INTRODUCTION.format(count=len(described))]
    for (year, authors), family in groupby(sorted(described, key=paper), key=paper):
        members = list(family)
        parts.append(f"## {authors} ({year})\n\n{table([one.facts for one in members])}\n")
        parts += [f"{written(one.facts)}\n" for one in members if one.facts.variant]
        parts += [section(one) for one in first_of_each(members)]
    return "\n".join(parts)


def paper(one: ModelDescription) -> tuple[int, str]:
    """What networks of one family share."""
    return one.facts.year, one.facts.authors


def first_of_each(described: Sequence[ModelDescription]) -> Iterator[ModelDescription]:
    """The first variant of each network."""
    for _, variants in groupby(described, key=lambda one: one.facts.name):
        yield next(variants)


def drawing(one: ModelDescription) -> str:
    """Where the diagram is, from the page."""
    return f"images/models/{one.facts.name}.svg"


def table(facts: Sequence[ModelFacts]) -> str:
    """A row for each network and variant."""
    return "\n".join([HEADER, *map(row, facts)])


def row(facts: ModelFacts) -> str:
    """A network's row of the table."""
    channels = "" if facts.in_channels == 1 else f", {facts.in_channels} channels"
    logits = "" if facts.out_channels == 1 else f", {facts.out_channels} logits"
    smaller = "" if facts.logits_size == facts.image_size else f" to {sides(facts.logits_size)}"
    cells = (
        f"[{facts.id}](#{facts.name})",
        sides(facts.image_size) + smaller + channels + logits,
        f"{facts.parameters:,}",
        f"{facts.conv_gflop:,.1f}",
        "window" if facts.receptive_field is None else sides(facts.receptive_field),
        sides(facts.total_stride),
        "blocks" if facts.local else "windows",
    )
    return f"| {' | '.join(cells)} |"


def written(facts: ModelFacts) -> str:
    """How a recipe names a variant."""
    model = json.dumps({"name": facts.name, **facts.options}).replace('"', "")
    return f"**{facts.id}**: `model: {model}`."


def section(one: ModelDescription) -> str:
    """The section about a network: paper or code, needs, diagram, options."""
    facts = one.facts
    title = f"{facts.name}, drawn for {facts.id}" if facts.variant else facts.name
    published = "The code" if facts.url.startswith("https://github.com/") else "The paper"
    lines = [f"### {facts.name}\n", f"{facts.summary} [{published}]({facts.url}).\n"]
    if one.about:
        lines.append(f"{one.about}\n")
    if facts.extra:
        lines.append(f'Needs `pip install "cristae[{facts.extra}]"`.\n')
    if facts.image_sizes != "any":
        lines.append(f"Takes images of sizes {facts.image_sizes}.\n")
    if not facts.local:
        joined = facts.blend.replace("_", " ")
        lines.append(f"Predicted in windows, joined by the rule '{joined}', because {facts.reason}.\n")
    if facts.auxiliary_outputs:
        plural = "s" if facts.auxiliary_outputs > 1 else ""
        lines.append(f"Trained with {facts.auxiliary_outputs} auxiliary output{plural} (deep supervision).\n")
    if facts.smallest_batch > 1:
        lines.append(f"Training needs at least {facts.smallest_batch} patches in a batch.\n")
    lines.append(f"[![Stages and skip connections of {title}]({drawing(one)})]({drawing(one)})\n")
    lines += ["| option | takes | default | |", "|---|---|---|---|"]
    lines += [
        f"| `{option.name}` | {option.kind} | `{json.dumps(option.default)}` | {option.help} |"
        for option in one.options
    ]
    return "\n".join(lines) + "\n"


def sides(size: Sequence[int]) -> str:
    """A size as '512x512'."""
    return "x".join(map(str, size))


def main() -> None:
    """Write everything that has changed; remove diagrams of networks that are gone."""
    made = files(list(measure_catalogue()))
    for stale in set((DOCS / "images" / "models").glob("*.svg")) - set(made):
        stale.unlink()
    for path, content in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
