"""What does not fit together in a recipe is told before anything is read, with what would."""

import pytest

from cristae.errors import RecipeError
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency
from cristae.recipe.load import parse_recipe
from cristae.recipe.recipe import Recipe


def problem(text: str, *changes: str) -> str:
    with pytest.raises(RecipeError) as caught:
        check_consistency(parse_recipe(text, "r.yaml", changes))
    return str(caught.value)


def fits(text: str, *changes: str) -> None:
    check_consistency(parse_recipe(text, "r.yaml", changes))


def model(text: str, name: str, size: str, *changes: str) -> tuple[str, ...]:
    """The recipe's text and the changes that give it another network and patch size."""
    return (text, f"model={{name: {name}}}", f"sampling={{name: random, size: {size}}}", *changes)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("sampling:\n  name: random\n  size: [8, 8, 8]\n", "r.yaml:28: sampling.size: [8, 8, 8] has 3 axes"),
        ("predict: {}\naugment: [flip]\n", None),
        ("augment:\n  - {name: noise}\n  - {name: flip, axes: [z]}\n", "r.yaml:26: augment: augmentation 'flip'"),
        ("targets: {name: edge_preserving, cell: er}\n", "r.yaml:26: targets: "),
    ],
)
def test_problems_are_told_at_their_lines(text: str, lines: str, expected: str | None) -> None:
    if expected:
        assert problem(text + lines).startswith(expected)


def test_problems_of_what_was_set_name_the_change(text: str) -> None:
    assert problem(text, "sampling.size=[8, 8, 8]").startswith("--set sampling.size=[8, 8, 8]: sampling.size: ")
    assert problem(text, "training.devices=3").startswith("r.yaml:23 (with --set training.devices=3): training.batch")
    text = text.replace("  epochs: 3\n", "  epochs: 3\n  batch_size: 7\n  devices: 2\n")
    assert problem(text).startswith("r.yaml:25: training.batch_size: 7 is not a multiple of the 2 devices")


def test_a_recipe_made_in_python_is_called_by_its_name(text: str) -> None:
    recipe = parse_recipe(text)
    python = Recipe.model_validate(
        recipe.model_dump(by_alias=True) | {"sampling": {"name": "random", "size": [8, 8, 8]}}
    )
    with pytest.raises(RecipeError, match=r"^tiny: sampling\.size: "):
        check_consistency(python)
    assert parse_recipe(text + "# a longer file\n") == recipe == parse_recipe("# moved\n" + text)


def test_without_a_size_every_network_gets_its_own(text: str) -> None:
    for name, size in (("seget", (512, 512)), ("unet_3d", (5, 296, 296)), ("deepvess", (1, 5, 5))):
        recipe = completed(parse_recipe(text, "r", [f"model={{name: {name}}}"]))
        check_consistency(recipe)
        assert recipe.sampling.size == size
    recipe = completed(parse_recipe(text, "r", ["sampling={name: grid}", "model={name: unet_3d}"]))
    assert (recipe.sampling.size, recipe.sampling.stride) == ((5, 296, 296), (2, 148, 148))  # type: ignore[union-attr]


def test_sizes_have_as_many_axes_as_the_network(text: str) -> None:
    assert "[64, 64] has 2 axes, but unet_3d takes 3; null takes" in problem(*model(text, "unet_3d", "[64, 64]"))
    found = problem(text, "sampling={name: grid, stride: [8, 8, 8]}")
    assert "sampling.stride: [8, 8, 8] has 3 axes, but unet_bn takes 2" in found


def test_networks_with_a_margin_name_the_next_good_size(text: str) -> None:
    found = problem(*model(text, "unet_valid", "[64, 64]"))
    assert "sampling.size: unet_valid has no output patch of [64, 64]" in found
    assert "the next good size is [68, 68]" in found
    fits(*model(text, "unet_valid", "[68, 68]"))
    assert "the only good size is [1, 5, 5]" in problem(*model(text, "deepvess", "[2, 5, 5]"))
    fits(*model(text, "deepvess", "[1, 5, 5]"))
    assert "the next good size is [5, 40, 40]" in problem(*model(text, "hybrid_2d3d", "[5, 36, 36]"))


def test_auxiliary_weights_are_as_many_as_outputs(text: str) -> None:
    chosen = "loss={name: dense_cell, auxiliary_weights: [1.0, 0.5]}"
    assert "loss.auxiliary_weights: [1.0, 0.5] does not fit, because the network has one output" in problem(
        text, chosen
    )
    fits(*model(text, "hybrid_2d3d", "[5, 40, 40]", chosen))


def test_a_batch_has_what_the_network_needs_on_every_device(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = "training={batch_size: 4, devices: 4}"
    fits(text, batch)
    assert "training.batch_size: 4 is not a multiple of the 3" in problem(text, "training={batch_size: 4, devices: 3}")
    monkeypatch.setattr("cristae.models.UNetBNConfig.smallest_batch", 2)
    assert "gives each of 4 devices 1, but unet_bn needs at least 2" in problem(text, batch)
    assert "set it to 8 or more" in problem(text, batch)
    fits(text, "training={batch_size: 8, devices: 4}")


def test_unrelated_images_have_no_neighbours(text: str) -> None:
    fits(text, "model.slices=3")
    found = problem(text, "model.slices=3", "data.volumes.0.kind=images")
    assert "unet_bn sees 3 neighbouring slices together, but 'cell' is `kind: images`" in found
    fits(text, "model.slices=1", "data.volumes.0.kind=images")
    volumetric = problem(text, "model={name: unet_3d}", "sampling.size=null", "data.volumes.0.kind=images")
    assert "unet_3d sees slices together, but 'cell' is `kind: images`" in volumetric


def test_turns_need_square_patches_and_square_images(text: str) -> None:
    turn = "augment=[{name: rotate90}]"
    fits(*model(text, "unet_3d", "[5, 8, 8]", turn))
    assert "augment: augmentation 'rotate90' needs" in problem(*model(text, "unet_3d", "[5, 8, 12]", turn))
    assert "axis z needs 3D patches" in problem(text, "augment=[{name: flip, axes: [z]}]")
    fits(*model(text, "unet_3d", "[5, 8, 12]", "augment=[{name: flip, axes: [z, y, x]}, {name: noise}]"))


def test_margins_of_augmentations_need_not_be_square(text: str) -> None:
    """Turns by quarters are of what the network sees; what moves further draws from a margin of any shape."""
    fits(*model(text, "unet_3d", "[5, 8, 8]", "augment=[{name: rotate90}, {name: shift, axes: [z, x]}]"))
    assert "axis z needs 3D patches" in problem(text, "augment=[{name: zoom, axes: [z]}]")


def test_faults_between_slices_need_several(text: str) -> None:
    faults = "augment=[{name: flip}, {name: shifted_sections}]"
    assert (
        "augment: augmentation 'shifted_sections' needs patches of several slices, got 1; set model.slices"
        in problem(text, "model={name: unet_bn}", faults)
    )
    fits(text, "model={name: unet_bn, slices: 3}", faults)
    assert problem(text, "model={name: unet_bn}", "augment=sections") == (
        "--set augment=sections: augment: augmentations 'shifted_sections', 'missing_sections', 'duplicated_sections', "
        "'blurred_sections' and 'contrast_jumps' need patches of several slices, got 1; set model.slices to 3 or more, "
        "or take a 3D network"
    )
    both = problem(text, "augment=[{name: flip, axes: [z]}, {name: shift, axes: [z]}]")
    assert "augmentations 'flip' and 'shift': axis z needs 3D" in both
    fits(*model(text, "unet_3d", "[5, 8, 8]", faults))


def test_each_output_has_a_weight(text: str) -> None:
    weights = "loss={name: cross_entropy_dice, auxiliary_weights: [1, 0.5]}"
    assert "loss.auxiliary_weights: [1.0, 0.5] does not fit, because the network has one output" in problem(
        text, weights
    )
    fits(*model(text, "hybrid_2d3d", "[5, 40, 40]", weights))


def test_weights_of_volumes_count_in_a_term(text: str) -> None:
    own, overlaps = "data.volumes.0.weight=w.tif", "loss={name: sum, terms: [{name: dice}, {name: jaccard_distance}]}"
    assert problem(text, own, overlaps) == (
        f"--set {own}: data.volumes.cell.weight: the weights have no effect, because they count in no term of the loss "
        "(dice, jaccard_distance); add one for each voxel, such as cross_entropy, or leave `weight` out"
    )
    fits(text, own, "loss={name: sum, terms: [{name: dice}, {name: jaccard_distance, voxel_weights: true}]}")
    fits(text, own)
    assert len(problem(text, own, overlaps, "targets={name: class_balance}").splitlines()) == 2
    assert "the random forest weighs classes, not voxels" in problem(text, own, "model={name: random_forest}")


def test_further_channels_are_read_by_a_term(text: str) -> None:
    further = "targets={name: none, further: [{name: distances}, {name: boundaries}]}"
    assert problem(text, further, "loss={name: sum, terms: [{name: dice}, {name: boundary}]}") == (
        f"--set {further}: targets.further.1: 'boundaries' has no effect, because no term of the loss (dice, boundary) "
        "reads it; add boundary_aware, or leave it out"
    )
    fits(text, further, "loss={name: sum, terms: [{name: boundary_aware}, {name: boundary}]}")


OVERLAPPING = (
    "data.classes={names: [mito, cell], exclusive: false}",
    'data.volumes.0.labels={kind: masks, masks: {mito: {path: "mito/*.png"}, cell: {path: "cell/*.png"}}}',
)


def test_classes_that_a_networks_logits_cannot_stand_for(text: str) -> None:
    fits(text, *OVERLAPPING)
    assert "model: cdeep3m cannot learn 2 overlapping classes" in problem(text, "model={name: cdeep3m}", *OVERLAPPING)
    fits(text, "model={name: cdeep3m}")
    wrong = model(text, "hybrid_2d3d, relu_logits: true", "[5, 40, 40]")
    assert "set model.relu_logits: false" in problem(*wrong)
    own = "model={name: external, target: 'cristae.models:CDeep3MConfig'}"
    assert "model: cdeep3m cannot learn 2" in problem(text, own, *OVERLAPPING)


def test_objects_of_a_forest_need_a_background(text: str) -> None:
    forest = "model={name: random_forest, objects: {}}"
    fits(text, forest)
    without = "data.classes={names: [membrane, mito], background: false}"
    assert "model.objects: voxels outside all objects become background" in problem(text, forest, without)
    fits(text, "model={name: random_forest}", without)
