"""Every recipe file trains, at reduced size, on the synthetic set that suits it: no file, no network connection."""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import pytest
from everyday import everyday

from cristae.classical.config import RandomForestConfig
from cristae.recipe.load import load_recipe
from cristae.recipe.run import read_metrics
from cristae.workflows.train import train

FOLDER = Path(__file__).parents[2] / "recipes"
STEPS = 2
BOXES = {
    "synthetic": ("platelets", "2:6,272:336,368:432", "platelets", "18:19,272:336,368:432"),
    "synthetic-fibsem": ("train", "2:6,192:320,0:128", "validate", "3:4,112:240,0:128"),
    "synthetic-tomogram/synapse": ("train", "2:6,176:240,432:496", "validate", "8:9,0:192,0:384"),
    "synthetic-tomogram/microtubules": ("train", "2:6,432:496,240:304", "validate", "8:9,0:384,0:384"),
    "synthetic-tomogram/centriole": ("train", "2:6,256:320,208:272", "validate", "8:9,0:384,0:384"),
    "synthetic-tomogram/granules": ("train", "2:6,272:336,80:144", "validate", "8:9,0:384,0:384"),
    "synthetic-tomogram/golgi": ("train", "2:6,192:256,256:320", "validate", "8:9,0:384,0:384"),
}
"""Volume and box to train on, and to validate on, by set or by set and task; all classes are in the first."""

SMALL_FLAT = ("sampling.size=[32, 32]", "training.batch_size=2", f"sampling.per_epoch={2 * STEPS}")
# Two windows of each labelled slice, in batches of four: 4 slices give two steps.
SMALL_GRID = ("sampling.size=[64, 48]", "sampling.stride=[64, 16]", "training.batch_size=4")
SMALL_SEGET = (*SMALL_GRID, "model.base=4")
# The warm-up of the published 20,000 updates is longer than this training.
SMALL_STELLAR = (*SMALL_FLAT, "training.schedule.updates=10", "training.validation.batches=2", "model.base=4")
SMALL_FIB_SEM = (*SMALL_FLAT, "training.validation.batches=2")
# Of the patches as large a part as in the paper.
SMALL_GRAIN = ("input_channels.0.area_px=50", "input_channels.1.area_px=10")
REDUCED: dict[str, tuple[str, ...]] = {
    "axondeepseg-unet": ("mitochondria", *SMALL_FLAT, "model.widths=[4, 8]", "data.voxel_size_nm=null"),
    "cdeep3m-1fm": (
        "mitochondria", "sampling.size=[32, 32]", "sampling.per_epoch=8", "training.batch_size=2",
        "training.accumulate=2", "model.base=4",
    ),
    "cdeep3m-mito-forest": ("mitochondria", "model.trees=3"),
    "cdeep3m-mito-seget": ("mitochondria", *SMALL_FLAT, "model.base=4"),
    "cdeep3m-mito-unet": ("mitochondria", *SMALL_FLAT, "model.widths=[4, 8]"),
    "dense-cell-2d3d": (
        "platelet", "sampling.size=[3, 56, 56]", "sampling.spacing=[1, 16, 16]", "model.base=8"
    ),
    "drosophila-vnc-unet": ("platelet", *SMALL_FLAT, "model.widths=[4, 8]"),
    "em-stellar-emnet-v2-4x": ("mitochondria", *SMALL_STELLAR),
    "em-stellar-unet-bn": ("mitochondria", *SMALL_STELLAR),
    "emnet-cardiac-forest": ("mitochondria", "model.trees=3"),
    "emnet-cardiac-unet": ("mitochondria", *SMALL_FLAT, "model.widths=[4, 8]"),
    "fib-sem-efficientunet": ("organelles", *SMALL_FIB_SEM, "model.width=0.25", "model.depth=0.2",
                              "model.decoder_widths=[8, 8, 8, 8, 8]"),
    "fib-sem-unet": ("organelles", *SMALL_FIB_SEM, "model.widths=[4, 8]"),
    "fib-sem-efficientunet-grain": ("organelles", *SMALL_FIB_SEM, *SMALL_GRAIN, "model.width=0.25", "model.depth=0.2",
                                    "model.decoder_widths=[8, 8, 8, 8, 8]"),
    "fib-sem-unet-grain": ("organelles", *SMALL_FIB_SEM, *SMALL_GRAIN, "model.widths=[4, 8]"),
    "flyem-medulla-unet": ("mitochondria", *SMALL_FLAT, "model.widths=[4, 8]"),
    "isbi2012-unet": ("mitochondria", *SMALL_FLAT, "model.widths=[4, 8]"),
    "platelet-em-unet": ("platelet", *SMALL_FLAT, "model.widths=[4, 8]"),
    "seget-centriole": ("centriole", *SMALL_SEGET),
    "seget-golgi": ("golgi", *SMALL_SEGET),
    "seget-granules": ("granules", *SMALL_SEGET),
    "seget-microtubules": ("microtubules", *SMALL_SEGET),
    "seget-synapse": ("synapse", *SMALL_SEGET),
    "synthetic-unet": ("platelet", *SMALL_FLAT, "model.widths=[4, 8]"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def fetched_sets(computed_sets: Path) -> Iterator[None]:
    """Sets lie in a folder that goes with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cristae.data.public.cache_folder", lambda: computed_sets)
        patch.delenv("CRISTAE_DATA", raising=False)
        yield


OFTEN = (
    "cdeep3m-mito-forest",
    "dense-cell-2d3d",
    "em-stellar-unet-bn",
    "fib-sem-unet",
)


@pytest.mark.parametrize("name", everyday(REDUCED.keys(), *OFTEN))
def test_every_recipe_trains_two_steps_on_the_synthetic_set(name: str, tmp_path: Path) -> None:
    task, *smaller = REDUCED[name]
    chosen = {"seget": "synthetic-tomogram", "fib": "synthetic-fibsem"}.get(name.split("-")[0], "synthetic")
    volume, train_box, other, box = BOXES.get(chosen) or BOXES[f"{chosen}/{task}"]
    data = (
        f"data={{set: {chosen}, task: {task}, train: [{{volume: {volume}, box: '{train_box}'}}], "
        f"validate: [{{volume: {other}, box: '{box}'}}], test: []}}"
    )
    recipe = load_recipe(FOLDER / f"{name}.yaml", [data, *smaller, "training.epochs=1", "device=cpu"])
    run = train(recipe, out=tmp_path / "run")
    if not isinstance(recipe.model, RandomForestConfig):
        (epoch,) = read_metrics(run)
        assert int(epoch["step"]) >= STEPS, "more where a recipe copies patches with foreground"
        assert isfinite(float(epoch["train_loss"]))
    assert run.weights_path.is_file()


def test_every_recipe_file_is_tried() -> None:
    assert set(REDUCED) == {path.stem for path in FOLDER.glob("*.yaml")}
