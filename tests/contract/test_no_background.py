"""Where every voxel belongs to a structure, no room takes the first class for a background. Each value is by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cristae.analysis.cells import cells_near, cells_of_classes
from cristae.analysis.class_map import ClassMap
from cristae.classical.config import ObjectsConfig
from cristae.classical.objects import find_objects
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats.ngff import group_attributes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.errors import RecipeError, RunError, ScoreError
from cristae.evaluation.agreement import AgreementOptions
from cristae.evaluation.scoring.voxels import masks_of
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.labels import labels_of
from cristae.inference.writer import _label_images
from cristae.losses import CrossEntropyDice
from cristae.metrics.agreement import Amounts
from cristae.metrics.agreement_counts import subsets
from cristae.metrics.merging import merge_classes
from cristae.metrics.tally import Tally, scores_of
from cristae.progress import Progress
from cristae.recipe.consistency import check_consistency
from cristae.recipe.load import parse_recipe
from cristae.report.panels import error_ids, foreground_iou, slices_markup
from cristae.report.preview import PredictedSlice, read_previews, write_preview
from cristae.sampling import GridPatches, RandomPatches
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.framing import Framing
from cristae.workflows.agree import agree

FULL = Classes(names=("inside", "membrane", "glia"), background=False)
USUAL = Classes(names=("none", "membrane", "glia"))
TWO = Classes(names=("inside", "membrane"), background=False)


def rows_of(classes, truth, prediction):
    tally = Tally("v", classes)
    tally.count(0, [np.array([truth], np.uint8)], [np.array([prediction], np.uint8)])
    return {(row.class_name, row.metric): row for row in scores_of([tally])}


def test_every_class_has_rows_and_means_are_over_all():
    rows = rows_of(FULL, [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1])
    iou = {"inside": 2 / 3, "membrane": 2 / 4, "glia": 0}
    assert {name: rows[name, "Jaccard"].value for name in FULL.names} == pytest.approx(iou)
    mean = rows["all", "mIoU"]
    assert (mean.value, mean.n) == (pytest.approx(sum(iou.values()) / 3), 3)
    assert mean.rule == "mean over all classes; pooled; n=classes"
    assert ("foreground", "mIoU") not in rows
    assert rows["inside", "volume_fraction_truth"].value == 3 / 6
    papers = {name: rows[name, "F1_slice_mean_paper"].value for name in FULL.names}
    assert papers == pytest.approx({"inside": 4 / 5, "membrane": 4 / 6, "glia": 0})


def test_with_a_background_rows_are_as_ever():
    rows = rows_of(USUAL, [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1])
    assert ("none", "Jaccard") not in rows
    assert (rows["foreground", "mIoU"].value, rows["all", "mIoU"].value) == (
        pytest.approx(1 / 4),
        pytest.approx(7 / 18),
    )


def test_masks_of_all_classes_also_of_two():
    ids = np.array([0, 1, 2], np.uint8)
    assert [mask.tolist() for mask in masks_of([ids], FULL)] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert [mask.tolist() for mask in masks_of([ids[:2]], TWO)] == [[1, 0], [0, 1]]


def test_merging_keeps_the_scheme_and_any_class_may_join():
    merged, lookup = merge_classes(FULL, {"cell": ["inside", "glia"]})
    assert (merged.names, merged.background, lookup.tolist()) == (("cell", "membrane"), False, [0, 1, 0])
    with pytest.raises(ScoreError, match="two or more"):
        merge_classes(FULL, {"all": FULL.names})


def test_a_merged_class_is_a_border_where_all_its_members_are():
    classes = Classes(names=("none", "inner", "outer", "glia"), borders=("inner", "outer"))
    assert merge_classes(classes, {"membrane": ["inner", "outer"]})[0].borders == ("membrane",)
    assert merge_classes(classes, {"rest": ["outer", "glia"]})[0].borders == ("inner",)
    assert merge_classes(classes, {"none": ["none", "outer"]})[0].borders == ("inner",)


def test_two_classes_have_two_logits_and_their_labels():
    ensemble = plan_ensemble([TWO])
    assert (ensemble.softmax, ensemble.channels, ensemble.channel_names) == (True, 2, TWO.names)
    found = labels_of(torch.tensor([[0.6, 0.5, 0.4], [0.4, 0.5, 0.6]])[:, None, None], ensemble, 0.9)
    assert found.flatten().tolist() == [0, 0, 1]


@pytest.mark.parametrize("other", [Classes(names=("none", "mito")), Classes(names=TWO.names), TWO])
def test_runs_are_averaged_with_their_like_and_merged_with_none(other):
    if other == TWO:
        assert plan_ensemble([TWO, other]).groups == ((0, 1),)
        return
    with pytest.raises(RunError, match=r"inside, membrane; no background"):
        plan_ensemble([TWO, other])


def part_of(classes: Classes) -> CachedPart:
    """One slice of four windows of 8 x 8: inside, inside with a voxel of membrane, membrane, nothing annotated."""
    labels = np.zeros((1, 8, 32), np.uint8)
    labels[0, 3, 12], labels[..., 16:24] = 1, 1
    valid = np.ones_like(labels)
    valid[..., 24:] = 0
    volume = Volume("v", image_of_array(labels), (image_of_array(labels),), valid=image_of_array(valid))
    parts = [Part(volume, Box.of_shape(labels.shape))]
    with open_cache() as cache:
        (cached,) = cache_parts(parts, classes, cache, Framing(), size=(1, 8, 8), progress=Progress())
    return cached


def test_patches_are_drawn_around_every_class():
    cached = [part_of(classes) for classes in (FULL, USUAL)]
    assert cached[0].folder == cached[1].folder  # equal voxels are kept once; what they mean is not
    full, usual = (part.sample_part() for part in cached)
    windows = [Box((0, 0, x), (1, 8, x + 8)) for x in (0, 8, 16, 24)]
    assert [full.has_foreground(box) for box in windows] == [True, True, True, False]
    assert [usual.has_foreground(box) for box in windows] == [False, True, True, False]
    copies = GridPatches(size=(8, 8), stride=(8, 8), positive_copies=2)
    assert [len(copies.plan([part], 0)) for part in (full, usual)] == [6, 5]
    # A patch is moved by at most 2 from its voxel: only those around `inside` can start before x = 12 - 2 - 4.
    balanced = RandomPatches(size=(8, 8), per_epoch=60, foreground_share=1.0)
    starts = [
        [plan.place(0, i).box.start[2] for i in range(60)] for plan in (balanced.plan([p], 0) for p in (full, usual))
    ]
    assert min(starts[1]) >= 6
    assert (
        10 <= sum(start < 6 for start in starts[0]) <= 25
    )  # half of the voxels of `inside`, which half the patches have


def test_dice_averages_every_class():
    logits = torch.tensor([[[2.0, 0.0, 1.0, -1.0]], [[0.0, 1.0, 3.0, 0.0]], [[-1.0, 0.5, 0.0, 2.0]]])[None]
    target, valid = torch.tensor([[[0, 0, 1, 2]]]), torch.ones(1, 1, 4, dtype=torch.bool)
    p, t = logits.softmax(1)[0, :, 0], F.one_hot(target[0, 0], 3).T
    terms = 1 - 2 * (p * t).sum(1) / (p.sum(1) + t.sum(1))
    for classes, chosen, expected in (
        (FULL, "foreground", terms.mean()),
        (FULL, "all", terms.mean()),
        (USUAL, "foreground", terms[1:].mean()),
        (USUAL, "all", terms.mean()),
    ):
        loss = CrossEntropyDice(cross_entropy_weight=0, dice_classes=chosen).build(classes)
        torch.testing.assert_close(loss(logits, target, valid, None), expected)


def test_two_classes_are_learned_by_softmax():
    logits, target = torch.tensor([[[[1.0, -2.0]], [[0.5, 3.0]]]]), torch.tensor([[[0, 1]]])
    loss = CrossEntropyDice(dice_weight=0).build(TWO)
    found = loss(logits, target, torch.ones(1, 1, 2, dtype=torch.bool), None)
    torch.testing.assert_close(found, F.cross_entropy(logits, target))


def test_objects_of_the_first_class_are_found_too():
    probabilities = np.array([[[0.9, 0.2, 0.1]], [[0.1, 0.8, 0.1]], [[0.0, 0.0, 0.8]]], np.float32)
    config = ObjectsConfig(smallest_vox=1)
    assert find_objects(probabilities, FULL, config)[0].tolist() == [[1, 2, 3]]
    assert find_objects(probabilities, USUAL, config)[0].tolist() == [[0, 1, 2]]


def test_the_cell_is_all_that_counts():
    labels, valid = np.array([[[0, 1, 2, 0]]], np.uint8), np.array([[[1, 1, 1, 0]]], np.uint8)
    box, size = Box.of_shape(labels.shape), (40.0, 10.0, 10.0)
    near = image_of_array(np.array([[[5, 0, 0, 0]]], np.uint8), voxel_size_nm=size)
    full, usual = (
        ClassMap((image_of_array(labels, voxel_size_nm=size),), classes, size, image_of_array(valid))
        for classes in (FULL, USUAL)
    )
    assert cells_of_classes(full).read(box).tolist() == [[[1, 1, 1, 0]]]
    assert cells_of_classes(usual).read(box).tolist() == [[[0, 1, 1, 0]]]
    assert cells_near(near, full, 10.0).read(box).tolist() == [[[5, 5, 0, 0]]]
    assert "all voxels that count" in cells_of_classes(full).rule
    assert "not background" in cells_of_classes(usual).rule


def test_all_voxels_count_for_agreement():
    ids = np.array([[[0, 1, 2, 0]]], np.uint8)
    assert (Amounts.of([ids], FULL).labelled, Amounts.of([ids], USUAL).labelled) == (4, 2)
    assert list(subsets(FULL)) == ["all"]
    assert list(subsets(USUAL)) == ["all", "foreground"]
    images = {name: image_of_array(ids, voxel_size_nm=(40.0, 10.0, 10.0)) for name in ("a", "b")}
    found = agree(images, classes=FULL)
    assert found.cell == "counted"
    assert agree(images, classes=USUAL).cell == "labelled"
    fractions = {
        row.class_name: row.value for row in found.scores() if row.run == "a" and row.metric == "volume_fraction"
    }
    assert fractions == {"inside": 0.5, "membrane": 0.25, "glia": 0.25}
    with pytest.raises(ScoreError, match="do not show where the cell of 'a' ends"):
        agree(images, classes=FULL, options=AgreementOptions(cell_from="a", margin_nm=10.0))


def test_the_first_class_is_opaque_in_label_images():
    def alphas(classes):
        ((_, listed),) = _label_images(classes)
        ome = group_attributes("s", [("0", (1, 1, 1))], None, (0, 0, 0), channels=None, classes=listed)
        return [color["rgba"][3] for color in ome["image-label"]["colors"]]

    assert alphas(FULL) == [255, 255, 255]
    assert alphas(USUAL) == [0, 255, 255]


def test_no_error_is_missed_or_false():
    truth, prediction = np.array([0, 0, 1, 255], np.uint8), np.array([0, 1, 0, 0], np.uint8)
    assert error_ids(truth, prediction).tolist() == [0, 2, 1, 4]
    assert error_ids(truth, prediction, background=False).tolist() == [0, 3, 3, 4]


def test_pages_show_the_first_class(tmp_path):
    truth, prediction = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    truth[:, 2:], prediction[:, 3:] = 1, 1
    for classes in (FULL, USUAL):
        kept = PredictedSlice("v", 0, truth, truth, None, prediction, None)
        write_preview(tmp_path / classes.names[0], kept, classes)
    (full,), (usual,) = (read_previews(tmp_path / classes.names[0])[1] for classes in (FULL, USUAL))
    assert foreground_iou(full) == pytest.approx((8 / 12 + 4 / 8) / 2)
    assert foreground_iou(usual) == pytest.approx(4 / 8)
    shown = [str(slices_markup([("", one)], classes)) for one, classes in ((full, FULL), (usual, USUAL))]
    assert ["IoU inside" in shown[0], "IoU none" in shown[1]] == [True, False]
    assert ["missed" in one for one in shown] == [False, True]
    assert FULL.color_of("inside") in shown[0]


def test_weights_that_balance_a_background_are_refused():
    text = (
        "name: r\ndata:\n  classes: {names: [a, b, c], background: BACKGROUND}\n"
        "  volumes: [{name: v, image: i.tif, labels: {kind: ids, path: l.tif}}]\n"
        "targets: {name: sample_bf}\nmodel: {name: unet_bn}\n"
    )
    check_consistency(parse_recipe(text.replace("BACKGROUND", "true"), "r.yaml"))
    with pytest.raises(RecipeError, match="targets: sample_bf weighs foreground"):
        check_consistency(parse_recipe(text.replace("BACKGROUND", "false"), "r.yaml"))
