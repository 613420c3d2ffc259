"""Human platelets: one slice in 16 bit with seven colour-coded classes."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, Region, VolumeConfig
from cristae.data.public.base import PublicSet

_SEVEN = {
    "#00000000": "background",
    "#0101e0ff": "cell",
    "#01abfeff": "mitochondria",
    "#01fe01ff": "alpha granule",
    "#ffe000ff": "canalicular vessel",
    "#fa5e00ff": "dense granule body",
    "#f500cbff": "dense granule core",
}

_CLASSES = DataConfig(
    classes=Classes(
        names=tuple(_SEVEN.values()),
        colors={name: color[:7] for color, name in _SEVEN.items() if color.endswith("ff")},
    ),
    volumes=(
        VolumeConfig(
            name="slice",
            image="50-images.png",
            labels=MappedLabels(path="50-semantic.png", values=_SEVEN),
            voxel_size_nm=(40.0, 10.0, 10.0),
        ),
    ),
    # Only the lower part of the field holds all seven classes, so it is the one to learn from.
    train=(Region(volume="slice", box=":,425:800,:"),),
    validate=(Region(volume="slice", box=":,0:375,:"),),
)

SET = PublicSet(
    name="platelet-em",
    title="Human platelets: one slice of 800 x 800 with seven classes, 16 bit",
    citation='Guay et al., "Dense cellular segmentation for EM using 2D-3D neural network ensembles", '
    "Scientific Reports 11:2561 (2021)",
    doi="10.1038/s41598-021-81590-0",
    licence="none stated for the data",
    licence_note="The source says: reviewed by NIBIB, contains no PII or PHI, and is cleared for public release.",
    homepage="https://bio3d-vision.github.io/platelet-description",
    address="https://raw.githubusercontent.com/bio3d-vision/bio3d-vision.github.io/"
    "94cbfd76a367959a7ee93ea3dcfd17e7b6f4158b/",
    tasks={"seven-class": _CLASSES},
    notes="About 10 x 10 x 40 nm. One slice is not enough to train a useful network; its halves, 50 voxels apart, let "
    "a recipe be tried out. The upper half has no dense granules. The source's 24-slice volume is reserved for a "
    "final test.",
)
