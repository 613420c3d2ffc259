"""Short names never hold what stands behind a path."""

import pytest

from cristae.data.names import name_of, stem_of, volume_name

PATHS = [
    # path, name of what it names, name of the file
    ("cell.tif", "cell", "cell"),
    ("a/b/cell.OME.TIFF", "cell", "cell"),
    ("prob.h5::channel=1", "prob", "prob"),
    ("prob.h5:/exported_data::channel=1", "exported_data", "prob"),
    ("prob.hdf:volumes/raw", "raw", "prob"),
    ("prob.ilp:/a/b.c", "b.c", "prob"),
    ("cell.zarr/", "cell", "cell"),
    ("cell.ome.zarr:/labels/segmentation::channel=0::axes=czyx", "segmentation", "cell"),
    ("cell.mrc::signed=false", "cell", "cell"),
    ("brain_0000.nii.gz::channel=2", "brain_0000", "brain_0000"),
    (r"C:\data\slice_7.TIFF", "slice_7", "slice_7"),
    (r"C:\data\prob.h5:/x::channel=1", "x", "prob"),
    ("C:/data/cell.rec", "cell", "cell"),
    ("12:30.tif", "12:30", "12:30"),
    ("images.010.png", "images.010", "images.010"),
    ("v1.2", "v1.2", "v1.2"),
    (".zarr", ".zarr", ".zarr"),
]


@pytest.mark.parametrize(("path", "name", "volume"), PATHS)
def test_names_of_paths(path: str, name: str, volume: str) -> None:
    assert (name_of(path), volume_name(path)) == (name, volume)
    assert stem_of(name) == name
