"""FlyEM medulla: isotropic FIB-SEM with a neuron id for each voxel."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, InstanceLabels, Region, VolumeConfig
from cristae.data.public.base import Derivation, PublicSet

_IDS = "neurons_iso2600-2789.tif"


def _describe(class_name: str, labels: InstanceLabels) -> DataConfig:
    return DataConfig(
        classes=Classes(names=("background", class_name), borders=(class_name,) if labels.to == "boundary" else ()),
        volumes=(
            VolumeConfig(name="medulla", image="grayscale_maps", labels=labels, voxel_size_nm=(10.0, 10.0, 10.0)),
        ),
        # Adjacent slices are nearly the same, so ten are left out between the parts.
        train=(Region(volume="medulla", slices="0:140"),),
        validate=(Region(volume="medulla", slices="150:190"),),
    )


SET = PublicSet(
    name="flyem-medulla-fibsem",
    title="FlyEM medulla: isotropic FIB-SEM, 190 x 250 x 250, 423 neurons",
    citation="FlyEM project, HHMI Janelia, NeuroProof examples, training_sample2",
    doi="",
    licence="CC BY 3.0 US (by its text; the file names no title)",
    licence_note="Redistribution and changes with attribution (FlyEM project, HHMI Janelia) and with changes marked; "
    "changed here: neuron ids of 190 slices, made from supervoxels and their table.",
    homepage="https://github.com/janelia-flyem/neuroproof_examples",
    address="https://raw.githubusercontent.com/janelia-flyem/neuroproof_examples/"
    "ce839e17deaf4c01153827c6d028dfecfbb4b958/",
    tasks={
        "boundary": _describe(
            "boundary",
            InstanceLabels(path=_IDS, to="boundary", class_name="boundary", zero="unlabelled"),
        ),
        "neurons": _describe("neuron", InstanceLabels(path=_IDS, to="foreground", class_name="neuron")),
    },
    notes="Bodies touch each other, there is no membrane class; the boundary is derived. Mitochondria are part of "
    "their neuron. `neurons` has next to no background and serves instance work. Slices 190 to 199 are a gap and 200 "
    "to 249 of the source are reserved for a final test.",
    derived=Derivation(
        path=_IDS,
        rule="neuron-ids",
        slices=(0, 190),
        original_sha256="0cf869f51c49653d6ae4219ece2bcc20bea6026d1544108eeb5a9cfdd2b9f17a",
        original_bytes=1_240_524,
    ),
)
