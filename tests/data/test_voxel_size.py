import pytest

from cristae.data.image import VoxelSize, same_voxel_size, voxel_size_text


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((40.0, 10.0, 10.0), True),
        ((40.39, 9.91, 10.09), True),
        ((40.0, 10.0, 10.11), False),
        ((40.0, 9.89, 10.0), False),
        ((41.0, 10.0, 10.0), False),
    ],
)
def test_sizes_within_one_percent_are_the_same_whichever_comes_first(other: VoxelSize, same: bool) -> None:
    size = (40.0, 10.0, 10.0)
    assert same_voxel_size(size, other) is same
    assert same_voxel_size(other, size) is same


def test_only_the_named_axes_are_compared() -> None:
    assert same_voxel_size((40.0, 10.0, 10.0), (90.0, 10.0, 10.0), axes=(1, 2))
    assert not same_voxel_size((40.0, 10.0, 10.0), (90.0, 10.0, 11.0), axes=(1, 2))


def test_sizes_as_text() -> None:
    assert [voxel_size_text(size) for size in ((40, 5.9, 5.9), None)] == ["40 x 5.9 x 5.9 nm", "unknown"]
