"""Every local network gives in blocks what it gives in one pass, whatever the volume, its chunks and the blocks."""

import h5py
import numpy as np
import pytest
import torch
from everyday import everyday
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_networks import LOCAL, narrow, seeded
from small_networks import MITO, UNCHANGED

from cristae.data.box import Box
from cristae.data.formats import open_image
from cristae.inference.blocks import plan_blocks
from cristae.inference.locality import measure_locality
from cristae.inference.predictor import Member, Predictor
from cristae.models import NETWORKS


def one_pass(one, grey):
    """Probabilities (Z, Y, X), with the borders made by numpy: mirrored around a margin, else zeros at the far side."""
    where, wide = one.locality, one.normalizer.apply(torch.from_numpy(grey.astype(np.float32))).numpy()
    for axis, side in enumerate(grey.shape):
        margin = where.margin[axis]
        amounts = [(0, 0)] * 3
        amounts[axis] = margin, where.good_side(axis, side) - side + margin
        wide = np.pad(wide, amounts, mode="reflect" if margin else "constant")
    image = torch.from_numpy(wide)
    with torch.inference_mode():
        logits = one.network(image[:, None])[:, 0] if where.ndim == 2 else one.network(image[None, None])[0, 0]
    z, y, x = grey.shape
    return torch.sigmoid(logits[:z, :y, :x])


def triples(low, high):
    return st.tuples(*(st.integers(*pair) for pair in zip(low, high, strict=True)))


@pytest.mark.parametrize("name", everyday(LOCAL, "unet_bn"))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=triples((1, 8, 8), (10, 150, 150)),
    chunk=triples((1, 8, 8), (8, 64, 64)),
    block=triples((1, 16, 16), (10, 160, 160)),
    strip=st.sampled_from([0, 300, 4000]),
)
def test_in_blocks_as_in_one_pass(name, tmp_path, shape, chunk, block, strip):
    config = narrow(NETWORKS[name]())
    network = seeded(config.build(1, 1))
    one = Member(network, measure_locality(network, config), UNCHANGED, MITO)
    grey = np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file.create_dataset("raw", data=grey, chunks=tuple(map(min, chunk, shape)))
    image = open_image(tmp_path / "cell.h5")
    predictor = Predictor([one], strip_vox=strip)
    found = torch.full(shape, torch.nan)
    with predictor.predicting():
        for part in plan_blocks(Box.of_shape(shape), block):
            found[part.core.slices] = predictor.probabilities(image, part.core)[0]
    expected = one_pass(one, grey)
    assert expected.std() > 1e-4, "the network must have something to say"
    assert (found - expected).abs().max() < 1e-4
