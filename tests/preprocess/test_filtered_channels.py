"""Filtered copies of patches: their order, and that neither batch neighbours nor threads nor the device matter."""

import numpy as np
import pytest
import torch

from cristae.preprocess.filtered_channels import FilteredChannels, GrainFilter, filtered_channels
from cristae.preprocess.grain import grain_filter

PATCHES = np.random.default_rng(5).random((3, 2, 20, 24)).astype(np.float32)
STEP = FilteredChannels((60, 9))


def test_no_channels_are_no_step() -> None:
    assert filtered_channels(()) is None
    assert filtered_channels((GrainFilter(area_px=60), GrainFilter(area_px=9))) == STEP


def test_grey_values_come_first_then_each_area_in_the_order_of_the_recipe() -> None:
    """Patches with two slices become those, both filtered with 60, and both filtered with 9."""
    found = STEP(PATCHES)
    assert (found.shape, found.dtype) == ((3, STEP.channels(2), 20, 24), np.float32)
    for patch, made in zip(PATCHES, found, strict=True):
        filtered = [grain_filter(plane, [60, 9]) for plane in patch]
        np.testing.assert_array_equal(made[:2], patch)
        np.testing.assert_array_equal(made[2:4], [one[0] for one in filtered])
        np.testing.assert_array_equal(made[4:], [one[1] for one in filtered])


def test_volumes_are_filtered_slice_by_slice() -> None:
    flat = STEP(PATCHES)
    thick = STEP(PATCHES[:, None])
    assert thick.shape == (3, 3, 2, 20, 24)
    np.testing.assert_array_equal(thick.reshape(flat.shape), flat)


def test_a_tensor_gets_the_same_bytes_and_stays_as_it_is() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        tensor = torch.from_numpy(PATCHES).to(memory_format=layout)
        kept = tensor.clone()
        with torch.inference_mode():
            found = STEP(tensor)
        assert torch.equal(tensor, kept)
        assert (found.dtype, found.device) == (torch.float32, tensor.device)
        np.testing.assert_array_equal(found.numpy(), STEP(PATCHES))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tensor_comes_back_to_its_device() -> None:
    found = STEP(torch.from_numpy(PATCHES).cuda())
    assert found.is_cuda
    np.testing.assert_array_equal(found.cpu().numpy(), STEP(PATCHES))


@pytest.mark.parametrize("threads", ["1", "4"])
def test_neither_neighbours_nor_threads_matter(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    whole = STEP(PATCHES)
    alone = [[grain_filter(plane, [60])[0] for plane in patch] for patch in PATCHES]
    np.testing.assert_array_equal(whole[:, 2:4], alone)
    for index in range(3):
        np.testing.assert_array_equal(STEP(PATCHES[index : index + 1])[0], whole[index])


def test_filtering_commutes_with_mirror_images_and_quarter_turns() -> None:
    """So a patch may be filtered before or after these, as the paper's code does it after."""
    whole = STEP(PATCHES)
    np.testing.assert_array_equal(STEP(PATCHES[..., ::-1]), whole[..., ::-1])
    np.testing.assert_array_equal(STEP(PATCHES[..., ::-1, :]), whole[..., ::-1, :])
    np.testing.assert_array_equal(STEP(np.rot90(PATCHES, axes=(-2, -1))), np.rot90(whole, axes=(-2, -1)))
