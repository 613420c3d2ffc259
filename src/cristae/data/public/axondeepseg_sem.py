"""AxonDeepSeg's SEM images: axons and myelin of rat spinal cord, one pixel size for each animal."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, Region, VolumeConfig
from cristae.data.public.base import PublicSet

_PIXEL_NM = {"rat1": 180.0, "rat2": 93.0, "rat3": 100.0, "rat4": 100.0, "rat5": 130.0}
_THICKNESS_NM = 100.0
"""Not stated and without meaning for 2D images; the same for all, so that resampling leaves z alone."""


def _animal(name: str, pixel_nm: float) -> VolumeConfig:
    return VolumeConfig(
        name=name,
        image=f"sub-{name}/micr/*.png",
        kind="images",
        sample=name,
        labels=MappedLabels(
            path=f"derivatives/labels/sub-{name}/micr/*_seg-axonmyelin-manual.png",
            # Myelin is 127 or 128; a handful of voxels of rat 2 have other values near these.
            values={"0-63": "background", "64-191": "myelin", "192-255": "axon"},
            match="number",
        ),
        voxel_size_nm=(_THICKNESS_NM, pixel_nm, pixel_nm),
    )


_THREE = DataConfig(
    classes=Classes(names=("background", "myelin", "axon")),
    volumes=tuple(_animal(name, pixel) for name, pixel in _PIXEL_NM.items()),
    train=tuple(Region(volume=name) for name in ("rat1", "rat2", "rat4", "rat5")),
    validate=(Region(volume="rat3"),),
)

SET = PublicSet(
    name="axondeepseg-sem",
    title="AxonDeepSeg SEM: axons and myelin, 7 images of 5 rats",
    citation='Zaimi et al., "AxonDeepSeg: automatic axon and myelin segmentation from microscopy data using '
    'convolutional neural networks", Scientific Reports 8:3816 (2018)',
    doi="10.1038/s41598-018-22181-4",
    licence="MIT",
    licence_note="Redistribution with the notice; data set doi 10.5281/zenodo.5498378.",
    homepage="https://github.com/axondeepseg/data_axondeepseg_sem",
    address="https://raw.githubusercontent.com/axondeepseg/data_axondeepseg_sem/"
    "a4d02a1adec4bde04267baab3770e18f441afd73/",
    tasks={"three-class": _THREE},
    notes="Pixel sizes differ 2-fold between animals: set a working voxel size such as [100, 130, 130]. The section "
    "thickness is not stated; 100 nm stands for all. Split by animal; rats 6, 7 and 8 are reserved for a final test.",
)
