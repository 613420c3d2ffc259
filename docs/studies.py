"""What `make_folds.py` cross-validates: recipes, and what is changed in them so that an hour on two cores is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StudyExperiment:
    """A recipe of the folder `recipes` with changes, each as after `--set`; `folds` is among them."""

    title: str
    text: str
    """What is asked, and what was done."""
    finding: str
    """What it says."""
    recipe: str
    settings: tuple[str, ...]


_NARROW = "model={name: unet_bn, widths: [16, 32, 64, 128]}"
_SHORT = (
    "sampling.per_epoch=200",
    "training.batch_size=4",
    "training.epochs=12",
    "training.precision=bf16",
)

STUDIES: Mapping[str, StudyExperiment] = {
    "emnet-cardiac": StudyExperiment(
        title="Heart muscle mitochondria in five folds, by section",
        text="""
The 20 tiles of `emnet-cardiac` come from five sections that are far apart, four tiles of each. A narrow U-Net (16 to
128 channels) learns four sections and is scored on the fifth, in turn: 12 epochs of 50 batches of four patches of
256 x 256 pixels in bfloat16, all else as in the recipe `emnet-cardiac-unet`.
""",
        finding="""
The sections differ by more (0.883 to 0.927) than one training of a section would: a single split into training and
validation sections may have said either.
""",
        recipe="emnet-cardiac-unet.yaml",
        settings=("folds={by: samples, count: 5}", _NARROW, *_SHORT),
    ),
    "isbi2012": StudyExperiment(
        title="Membranes of the fly's nerve cord in five blocked folds",
        text="""
The 20 slices of `isbi2012` are cut into five stretches of four slices that follow each other. A narrow U-Net (16 to 128
channels) learns four stretches and is scored on the fifth, in turn. It sees single slices, so that no gap is needed
between the stretches for it to see nothing that it is scored on; neighbouring slices are alike all the same (their
correlation is 0.05 to 0.34). 12 epochs of 50 batches of four patches of 256 x 256 pixels in bfloat16, all else as in
the recipe `isbi2012-unet`.
""",
        finding="""
The five stretches agree within 0.03. Membranes are a few pixels wide here, so that a boundary that is off by one pixel
costs far more IoU than in a mitochondrion: precision and recall are 0.79 and 0.86.
""",
        recipe="isbi2012-unet.yaml",
        settings=(
            "folds={by: slices, count: 5}",
            "data.validate=[{volume: stack, slices: '15:20'}]",
            _NARROW,
            *_SHORT,
        ),
    ),
    "drosophila-vnc": StudyExperiment(
        title="Five classes of the fly's nerve cord in five blocked folds",
        text="""
The 15 sections of `drosophila-vnc` are cut into five stretches of three that follow each other. A narrow U-Net (16 to
128 channels) learns four stretches and is scored on the fifth, in turn: 12 epochs of 50 batches of four patches of
256 x 256 pixels in bfloat16, all else as in the recipe `drosophila-vnc-unet`.
""",
        finding="""
Cytoplasm and membranes are much the same in all stretches. Glia, and above all synapses, of which each stretch has few,
are not: with 15 sections their intervals are 0.18 wide, and a difference of 0.1 between two methods would mean nothing.
""",
        recipe="drosophila-vnc-unet.yaml",
        settings=(
            "folds={by: slices, count: 5}",
            "data.validate=[{volume: stack1, slices: '10:15'}]",
            _NARROW,
            *_SHORT,
        ),
    ),
    "axondeepseg-sem": StudyExperiment(
        title="Axons and myelin in five folds, by animal",
        text="""
The seven images of `axondeepseg-sem` show five rats. A narrow U-Net (16 to 128 channels) learns four animals and is
scored on the fifth, in turn: 12 epochs of 50 batches of four patches of 256 x 256 pixels, all else as in the recipe
`axondeepseg-unet`, which brings all images to one pixel size.
""",
        finding="""
The animals differ by 0.09 in myelin and 0.11 in axons. What is to be expected of the next animal lies within the
intervals, which a test on other images of the same animals would not have shown.
""",
        recipe="axondeepseg-unet.yaml",
        settings=("folds={by: samples, count: 5}", _NARROW, *_SHORT),
    ),
}
