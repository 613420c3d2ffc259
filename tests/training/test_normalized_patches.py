"""Training patches hold the very numbers of their volume normalised as a whole, mirrored where it ends."""

import numpy as np
import pytest
import torch

from cristae.augment import Batch
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.preprocess import HistogramMatching, Local, MinMax, NormalizeConfig, Percentiles, ZScore
from cristae.preprocess.fitting import fit_training, fit_volume, greys_of
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.sampling import RandomPatches
from cristae.targets import TargetMaps
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing
from cristae.training.normalized import normalized
from cristae.training.preparation import prepare_batch

SHAPE = (9, 40, 44)
BINARY = Classes(names=("background", "thing"))
CONFIGS: dict[str, NormalizeConfig] = {
    "slices": MinMax(scope="slice", ignore=()),
    "local": Local(scope="volume", reach_vox=6),
    "z_score": ZScore(scope="volume"),
    "matched": HistogramMatching(),
}


def volume(name: str = "v", seed: int = 4) -> Volume:
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 60_000, SHAPE) * np.linspace(0.2, 1, SHAPE[0])[:, None, None]
    labels = (rng.random(SHAPE) < 0.3).astype(np.uint8)
    return Volume(name, image_of_array(grey.astype(np.uint16)), labels=(image_of_array(labels),))


def fitted(config: NormalizeConfig, one: Volume) -> Normalizer:
    training = fit_training(config, greys_of(config, volume(seed=9).image)) if config.matches else None
    return fit_volume(config, greys_of(config, one.image), training)


def batch_of(volumes: list[Volume], framing: Framing, size: tuple[int, int, int]) -> Batch:
    with open_cache() as cache:
        parts = [Part(one, Box.of_shape(SHAPE)) for one in volumes]
        cached = cache_parts(parts, BINARY, cache, framing, size=size, progress=Progress())
    spatial = size[1:] if framing.flat else size
    plan = RandomPatches(size=spatial, per_epoch=24).plan([part.sample_part() for part in cached], seed=2)
    ((_, batch),) = list(PatchFeed(plan, cached, framing, batch_size=24, threads=1))
    return batch


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("framing", "size"),
    [
        (Framing(flat=True), (1, 16, 12)),
        (Framing(flat=True, context=(1, 2, 2)), (1, 16, 12)),
        (Framing(flat=False, context=(2, 2, 3)), (4, 14, 12)),
        (Framing(flat=False), (4, 40, 50)),
    ],
    ids=["flat", "neighbours and context", "thick", "larger than the volume"],
)
def test_a_patch_is_cut_from_the_normalised_volume(name: str, framing: Framing, size: tuple[int, int, int]) -> None:
    one = volume()
    normalizer = fitted(CONFIGS[name], one)
    whole = normalizer.read(one.image, Box.of_shape(SHAPE))
    wide = np.pad(whole, ((8,), (20,), (20,)), mode="reflect")
    found = normalized(batch_of([one], framing.reaching(normalizer.reach), size), {"v": normalizer})
    assert found.image.dtype == torch.float32
    for image, box in zip(found.image.numpy(), found.boxes, strict=True):
        place = box.grow(framing.context).shift((8, 20, 20))
        expected = wide[place.slices]
        np.testing.assert_allclose(image, expected if framing.flat else expected[None], atol=1e-5)


def test_volumes_of_a_batch_have_their_own_mappings() -> None:
    volumes = [volume("v"), volume("w", seed=5)]
    own = {one.name: fitted(CONFIGS["slices"], one) for one in volumes}
    batch = batch_of(volumes, Framing(), (1, 16, 12))
    assert set(batch.volumes) == {"v", "w"}
    found = normalized(batch, own)
    for place, name in enumerate(batch.volumes):
        assert torch.equal(found.image[place], normalized(batch.of([place]), {name: own[name]}).image[0])


@pytest.mark.parametrize("config", [MinMax(scope="patch"), ZScore(scope="patch"), Percentiles(scope="patch")])
def test_patches_are_scaled_after_their_augmentation(config: NormalizeConfig) -> None:
    """EM-stellar's paper scales each image by its minimum and maximum after augmentation."""
    batch = normalized(batch_of([volume()], Framing(), (1, 16, 12)), {"v": fitted(Percentiles(), volume())})
    steps = NetworkInput.of([config.patch_step()])

    def targets(target: torch.Tensor, valid: torch.Tensor) -> TargetMaps:
        return TargetMaps(target, None, {})

    generators = [np.random.default_rng(i) for i in range(len(batch))]
    found = prepare_batch(batch, (), targets, generators, network_input=steps)
    assert torch.equal(found.image, steps.apply(batch.image))
    if isinstance(config, MinMax):
        assert (found.image.amin((1, 2, 3)) == 0).all()
        assert torch.allclose(found.image.amax((1, 2, 3)), torch.ones(24))
