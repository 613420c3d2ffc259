"""What `make_results.py` trains: recipes, what is changed in them, and the volume that all are scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Score = Literal["F1", "precision", "recall", "AP"]


@dataclass(frozen=True)
class Variant:
    """A recipe of the folder `recipes` with changes, each as after `--set`."""

    recipe: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """Variants that are compared."""

    title: str
    text: str
    """What is asked, and what was done."""
    finding: str
    """What it says."""
    variants: Mapping[str, Variant]
    settings: tuple[str, ...] = ()
    """Changes of all variants."""
    seeds: int = 3
    best: int | None = None
    """How many runs of each variant count, by their F1 on the validation regions; None counts all."""
    scores: tuple[Score, ...] = ("F1",)
    """What the table shows of each class; variants are compared by F1."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Variants whose difference is shown."""


_SEGET = "seget-microtubules.yaml"
_NARROW_UNET = "model={name: unet_bn, widths: [8, 16, 32, 64, 128]}"
_UNWEIGHTED = "targets={name: none}"
_GRAIN = "input_channels=[{name: grain_filter, area_px: 800}, {name: grain_filter, area_px: 162}]"
_NARROW_EFFICIENT = "model={name: efficient_unet, width: 0.35, depth: 0.6, decoder_widths: [64, 32, 32, 16, 8]}"

EXPERIMENTS: dict[str, Experiment] = {
    "seget-weights": Experiment(
        title="Weights of foreground voxels, on the rarest structure of a tomogram",
        text="""
Zhang et al. (2018) weigh the foreground voxels of a patch with B/F, its ratio of background to foreground voxels (at
most 2,000), since a structure may be one voxel in 500. Here SegET and a U-Net learn the microtubules of the set
`synthetic-tomogram` with these weights and without them. Networks are narrower than the paper's (`base: 8`, and 8 to
128 channels in the U-Net), patches have 128 x 128 pixels, and trainings last three epochs of 130 updates, where the
paper's last up to 300 epochs; all else is as in the recipe `seget-microtubules`. AP is the average precision over all
thresholds of the probability map; of a map that knows nothing it is the structure's share of the voxels, 0.003 here.
Minutes are those of one core of a machine that had other work, too.
""",
        finding="""
After so short a training SegET without weights calls every voxel background, in all three runs; with them it finds a
third of the microtubules' voxels, though few of those it finds are right. The U-Net learns without weights as well in
two runs of three, and better than with them; in the third it finds nothing. Three runs do not tell its variants apart.
So the weights are what lets SegET begin, and cost precision: what the paper's length of training makes of it is not
shown here.
""",
        variants={
            "SegET, B/F": Variant(_SEGET, ("model.base=8",)),
            "SegET, no weights": Variant(_SEGET, ("model.base=8", _UNWEIGHTED)),
            "U-Net, B/F": Variant(_SEGET, (_NARROW_UNET,)),
            "U-Net, no weights": Variant(_SEGET, (_NARROW_UNET, _UNWEIGHTED)),
        },
        settings=(
            "data={set: synthetic-tomogram, task: microtubules}",
            "sampling={name: grid, size: [128, 128], stride: [64, 64]}",
            "training.epochs=3",
        ),
        scores=("F1", "precision", "recall", "AP"),
        pairs=(("SegET, B/F", "SegET, no weights"), ("U-Net, B/F", "U-Net, no weights")),
    ),
    "fib-sem-grain": Experiment(
        title="Grain-filtered input, on organelles in FIB-SEM",
        text="""
Meyer et al. (2021) show their networks each patch together with two grain-filtered copies of it (+ F). Here narrow
relatives of both networks (8 to 128 channels; `width: 0.35`, `depth: 0.6`) learn three organelles of the set
`synthetic-fibsem` with and without these channels. Patches have 128 x 128 pixels and the filter's areas are the paper's
shares of a patch: 800 and 162 pixels. Trainings last four epochs of 128 updates, where the paper's last 100 of 256; all
else is as in the recipes `fib-sem-*`. The paper trains fifteen of each and takes the best ten. Minutes are those of one
core of a machine that had other work, too, some of it much.
""",
        finding="""
All four variants learn in minutes, but runs differ more from each other than the variants do. In five of six
comparisons so few runs do not tell whether the filtered channels help; in the sixth, the U-Net's cell membrane, they
cost a little, which one of six intervals may say by chance. So nothing here speaks for the filtered channels after so
short a training, and little against them. More runs make the intervals narrower: the command resumes where it stopped.
""",
        variants={
            "U-Net": Variant("fib-sem-unet.yaml", ("model.widths=[8, 16, 32, 64, 128]",)),
            "U-Net + F": Variant("fib-sem-unet-grain.yaml", ("model.widths=[8, 16, 32, 64, 128]", _GRAIN)),
            "EfficientUNet": Variant("fib-sem-efficientunet.yaml", (_NARROW_EFFICIENT,)),
            "EfficientUNet + F": Variant("fib-sem-efficientunet-grain.yaml", (_NARROW_EFFICIENT, _GRAIN)),
        },
        settings=(
            "data={set: synthetic-fibsem, task: organelles}",
            "sampling.size=[128, 128]",
            "sampling.per_epoch=512",
            "training.epochs=4",
            "training.validation={name: patches, batches: 16, augment: true}",
        ),
        seeds=15,
        best=10,
        pairs=(("U-Net + F", "U-Net"), ("EfficientUNet + F", "EfficientUNet")),
    ),
}
