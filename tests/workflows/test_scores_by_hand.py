"""The whole way from files to rows, against the same scores put together slice by slice with scikit-image's labels."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from prediction_files import write_prediction
from scipy.ndimage import binary_dilation, distance_transform_edt, generate_binary_structure
from skimage.measure import label
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from test_evaluate import recipe_at

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.errors import VoxelSizeError
from cristae.evaluation.comparison import align
from cristae.evaluation.scoring.evaluation import Evaluation
from cristae.evaluation.scoring.object_rows import apart
from cristae.evaluation.scoring.score import score
from cristae.evaluation.scoring.settings import ScoreOptions, Scoring
from cristae.evaluation.segmentation import Segmentation
from cristae.metrics.contingency import Contingency
from cristae.metrics.detection import Detection, detection
from cristae.metrics.instances import InstanceCounts, panoptic_quality
from cristae.metrics.partition import v_info, v_rand, variation_of_information
from cristae.metrics.score import Score, write_scores
from cristae.metrics.skeleton import SkeletonCounts, cl_dice, skeleton_counts
from cristae.metrics.thinning import thin_borders
from cristae.metrics.uncertainty.bootstrap import interval
from cristae.metrics.uncertainty.statistic import best_mean
from cristae.metrics.v_scores import THRESHOLDS
from cristae.progress import Progress
from cristae.workflows.evaluate import evaluate

SHAPE = (4, 40, 44)
SIZE = (40.0, 5.0, 8.0)
BINARY = Classes(names=("background", "mito"))
MANY = Classes(names=("background", "cell", "mito", "granule"))


def speckled(seed):
    """Truth and 8-bit scores with many objects that touch at corners, larger ones, and some that are cut."""
    rng = np.random.default_rng(seed)
    coarse, sure = (np.kron(rng.random((SHAPE[0], 10, 11)), np.ones((1, 4, 4))) for _ in range(2))
    truth = coarse + 0.25 * (rng.random(SHAPE) - 0.5) > 0.62
    scores = np.clip(truth * (1.3 * sure - 0.1) + 0.2 * rng.random(SHAPE) + 0.3 * (coarse - 0.5), 0, 1)
    return truth, (scores * 255).round().astype(np.uint8)


def inside_of(masked):
    """Most of each slice, and nothing of the last."""
    inside = np.ones(SHAPE, bool)
    if masked:
        inside[:, :5], inside[:, 10:13, 9:30], inside[-1] = False, False, False
    return inside


@pytest.fixture(params=[False, True], ids=["everything", "mask"])
def case(request, tmp_path):
    """Truth, scores, what counts, and a function that gives the rows of a threshold by metric."""
    truth, scores = speckled(3)
    inside = inside_of(request.param)
    arrays = {"truth": truth * np.uint8(255), "scores": scores, "mask": inside * np.uint8(7)}
    for name, array in arrays.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric="minisblack")

    def rows(threshold, out=None):
        found = evaluate(
            tmp_path / "scores.tif",
            tmp_path / "truth.tif",
            mask=tmp_path / "mask.tif" if request.param else None,
            out=out,
            options=ScoreOptions(binarize=threshold, voxel_size_nm=SIZE),
        )
        return {row.metric: row for row in found if row.class_name == "foreground"}

    return truth, scores, inside, rows


def cut(scores, threshold):
    return (scores.astype(np.float32) / np.float32(255)).astype(np.float64) > np.float64(threshold)


def v_of(truth, predicted, inside, *, thin):
    """V_rand and V_info of one slice."""
    segments = thin_borders(predicted) if thin else label(predicted, connectivity=1)
    overlaps = Contingency.of(label(truth & inside, connectivity=1), segments, inside)
    return v_rand(overlaps).value, v_info(overlaps).value


def v_means(truth, scores, inside, threshold, *, thin=True):
    """Slice means of both where some voxel counts."""
    used = [z for z in range(len(truth)) if inside[z].any()]
    return np.nanmean([v_of(truth[z], cut(scores[z], threshold), inside[z], thin=thin) for z in used], axis=0)


def matched(truth, predicted, inside):
    """Sorted IoU of the pairs of objects that share a voxel, and how many objects there are in both."""
    true, found = np.where(inside, truth, 0), np.where(inside, predicted, 0)
    pairs = {(t, p) for t, p in zip(true.ravel().tolist(), found.ravel().tolist(), strict=True) if t and p}
    ious = [((true == t) & (found == p)).sum() / ((true == t) | (found == p)).sum() for t, p in pairs]
    return ious, len(np.unique(true[true > 0])) + len(np.unique(found[found > 0]))


def check_instances(rows, suffix, ious, objects):
    ious = np.array(ious)
    hits = np.array([(ious > k / 20).sum() for k in range(10, 20)])
    aps = hits / (objects - hits)
    assert aps[0] > aps[5] > aps[9]
    assert rows[f"instance_AP50{suffix}"].value == pytest.approx(aps[0])
    assert rows[f"instance_AP75{suffix}"].value == pytest.approx(aps[5])
    assert rows[f"instance_AP{suffix}"].value == pytest.approx(aps.mean())
    good = ious[ious > 0.5]
    assert rows[f"PQ{suffix}"].value == pytest.approx(2 * good.sum() / objects)
    assert rows[f"SQ{suffix}"].value == pytest.approx(good.mean())
    assert rows[f"RQ{suffix}"].value == pytest.approx(2 * good.size / objects)


@pytest.mark.parametrize("threshold", [0.5, 0.4])
def test_v_scores_at_the_best_and_at_the_fixed_threshold(case, tmp_path, threshold):
    truth, scores, inside, evaluated = case
    rows = evaluated(threshold, tmp_path / "s.csv")
    curve = np.array([v_means(truth, scores, inside, t) for t in THRESHOLDS])
    fixed = v_means(truth, scores, inside, threshold)
    raw = v_means(truth, scores, inside, threshold, thin=False)
    slices = list(csv.DictReader((tmp_path / "s.slices.csv").open()))
    assert [int(row["slice"]) for row in slices] == [z for z in range(len(truth)) if inside[z].any()]
    for place, name in enumerate(("V_rand", "V_info")):
        best = int(curve[:, place].argmax())
        assert rows[name].value == pytest.approx(curve[best, place], abs=1e-12)
        assert rows[name].threshold == THRESHOLDS[best] != threshold
        assert rows[f"{name}_fixed"].value == pytest.approx(fixed[place], abs=1e-12)
        assert rows[f"{name}_fixed"].threshold == threshold
        assert rows[f"{name}_raw"].value == pytest.approx(raw[place], abs=1e-12)
        for row in slices:
            z = int(row["slice"])
            for column, t in ((name, THRESHOLDS[best]), (f"{name}_fixed", threshold)):
                expected = v_of(truth[z], cut(scores[z], t), inside[z], thin=True)[place]
                assert float(row[column]) == pytest.approx(expected, abs=1e-12)


def test_objects_of_slices_and_of_the_volume(case):
    truth, scores, inside, evaluated = case
    rows, predicted = evaluated(0.5), cut(scores, 0.5)
    ious, objects, detected, lines = [], 0, Detection(0, 0, 0), SkeletonCounts()
    for whole, answer, counts in zip(truth, predicted, inside, strict=True):
        true, found = whole & counts, answer & counts
        pieces = label(true, connectivity=2)
        detected += detection(Contingency.of(pieces, found.astype(np.uint8), counts))
        lines += skeleton_counts(true, found, counts)
        more, number = matched(pieces, label(found, connectivity=2), counts)
        ious, objects = ious + more, objects + number
    assert min(detected.tp, detected.fn, detected.ud) > 0
    for kind in ("TP", "FN", "UD"):
        assert rows[f"components_{kind}"].value == getattr(detected, kind.lower())
        share = 100 * getattr(detected, kind.lower()) / detected.components
        assert rows[f"components_{kind}_percent"].value == pytest.approx(share)
    check_instances(rows, "", ious, objects)
    assert rows["clDice"].value == pytest.approx(cl_dice(lines))

    truth, predicted = truth & inside, predicted & inside
    ious, objects = matched(label(truth, connectivity=3), label(predicted, connectivity=3), inside)
    assert rows["PQ_3d"].value == pytest.approx(2 * sum(iou for iou in ious if iou > 0.5) / objects)
    overlaps = Contingency.of(label(truth, connectivity=1), label(predicted, connectivity=1), inside)
    assert rows["V_rand_raw_3d"].value == pytest.approx(v_rand(overlaps).value)
    assert rows["V_info_raw_3d"].value == pytest.approx(v_info(overlaps).value)
    assert rows["VI_fg_3d"].value == pytest.approx(variation_of_information(overlaps, foreground=True).value)


def test_surfaces_in_nm_and_volume_fractions(case):
    truth, scores, inside, evaluated = case
    rows, predicted = evaluated(0.5), cut(scores, 0.5)
    surfaces = []
    for mask in (truth & inside, predicted & inside):
        outside = binary_dilation(inside & ~mask, generate_binary_structure(3, 1))
        surfaces.append(mask & outside)
    there, back = (distance_transform_edt(~other, sampling=SIZE)[own] for own, other in (surfaces, reversed(surfaces)))
    both = np.concatenate([there, back])
    assert rows["HD"].value == pytest.approx(both.max())
    assert rows["HD95"].value == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert rows["ASD"].value == pytest.approx(both.mean())
    assert rows["NSD"].value == pytest.approx((both <= 40).mean())
    shares = [(one <= 40).mean() for one in (there, back)]
    assert rows["boundary_F1"].value == pytest.approx(2 * shares[0] * shares[1] / sum(shares))
    assert rows["volume_fraction"].value == pytest.approx(predicted[inside].mean())
    assert rows["volume_fraction_truth"].value == pytest.approx(truth[inside].mean())
    difference = predicted[inside].mean() - truth[inside].mean()
    assert rows["volume_fraction_difference"].value == pytest.approx(difference)


def test_volume_fractions_of_a_cell():
    """Ten voxels of a cell, six without an organelle, and three of an organelle outside the mask."""
    labels = np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 2, 2, 2], np.uint8).reshape(1, 1, 13)
    cell = np.array([1] * 10 + [0] * 3, np.uint8).reshape(1, 1, 13)
    scores = evaluate(
        image_of_array(labels), image_of_array(np.minimum(labels, 2)), classes=MANY, mask=image_of_array(cell)
    )
    found = {(row.class_name, row.metric): row.value for row in scores}
    assert found["mito", "volume_fraction"] == pytest.approx(0.3)
    assert found["granule", "volume_fraction"] == pytest.approx(0.1)
    assert found["granule", "volume_fraction_truth"] == 0
    assert found["mito", "volume_fraction_difference"] == pytest.approx(-0.1)


def test_mean_iou_of_the_organelles_inside_a_labelled_cell():
    """Classes 2 and 3 of 0 to 3: the rest of the cell taken to the background, the cell as mask."""
    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(0, 4, (2, 3, 12, 15)).astype(np.uint8)
    options = ScoreOptions(merge={"background": ("background", "cell")})
    arrays = (image_of_array(array) for array in (predicted, truth))
    scores = evaluate(*arrays, classes=MANY, mask=image_of_array((truth > 0).astype(np.uint8)), options=options)
    (row,) = (one for one in scores if (one.class_name, one.metric) == ("foreground", "mIoU"))
    t, p = truth[truth > 0], predicted[truth > 0]
    expected = [((t == c) & (p == c)).sum() / ((t == c) | (p == c)).sum() for c in (2, 3)]
    assert (row.value, row.n) == (pytest.approx(np.mean(expected)), 2)


@pytest.mark.parametrize(("threshold", "ties"), [(0.5, 0), (0.2, 1)])
def test_float_scores_are_compared_strictly_and_in_64_bits(tmp_path, threshold, ties):
    """One half is not above one half, but 0.2 in 32 bits is 0.2000000030 and above 0.2."""
    scores = np.array([[0.0, 0.1, threshold, threshold, 0.9, 1.0]], np.float32)
    truth = np.array([[0, 0, 255, 0, 255, 255]], np.uint8)
    for name, array in (("truth", truth), ("scores", scores)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric="minisblack")
    rows = evaluate(tmp_path / "scores.tif", tmp_path / "truth.tif", options=ScoreOptions(binarize=threshold))
    found = {row.metric: row.value for row in rows if row.class_name == "foreground"}
    tp, fp, fn = 2 + ties, ties, 1 - ties
    assert found["F1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert found["V_rand_fixed"] == pytest.approx(
        v_of(truth > 0, scores.astype(np.float64) > threshold, truth >= 0, thin=True)[0]
    )


def test_slices_of_a_box_keep_their_numbers(tmp_path):
    truth, scores = speckled(5)
    images = [image_of_array(array.astype(np.uint8)) for array in (cut(scores, 0.5), truth)]
    box = Box((1, 0, 0), (3, *SHAPE[1:]))
    evaluate(*images, classes=BINARY, out=tmp_path / "all.csv")
    evaluate(*images, classes=BINARY, out=tmp_path / "part.csv", options=ScoreOptions(box=box))
    every, part = (list(csv.DictReader((tmp_path / f"{name}.slices.csv").open())) for name in ("all", "part"))
    assert part == every[1:3]
    assert [row["slice"] for row in part] == ["1", "2"]
    assert all(not math.isnan(float(row["V_rand"])) for row in part)


def test_surfaces_of_a_single_plane(tmp_path):
    """The height of its voxels is neither in a distance nor in the tolerance."""
    truth, found = np.zeros((2, 1, 9, 12), np.uint8)
    truth[0, 2:7, 2:6], found[0, 2:7, 2:8] = 1, 1
    scores = evaluate(
        image_of_array(found), image_of_array(truth), classes=BINARY, options=ScoreOptions(voxel_size_nm=SIZE)
    )
    rows = {row.metric: row for row in scores if row.class_name == "mito"}
    assert rows["HD"].value == 16
    assert "tolerance 8 nm" in rows["NSD"].rule
    assert rows["NSD"].value < 1


def test_intervals_of_the_best_threshold_search_it_anew():
    """Slices of equal number in two volumes are two units, slices without a voxel that counts are none."""
    parts, comparisons, inside = [], [], inside_of(True)
    for name, seed in (("a", 3), ("b", 4)):
        truth, scores = speckled(seed)
        labels, found = image_of_array(truth.astype(np.uint8)), image_of_array(scores)
        valid = image_of_array(inside.astype(np.uint8))
        reference = Segmentation(name, labels.path, BINARY, (labels,), valid=valid)
        comparisons.append(align(reference, Segmentation(name, found.path, BINARY, (), (found,), threshold=0.5)))
        parts += [
            [v_of(truth[z], cut(scores[z], t), inside[z], thin=True)[0] for t in THRESHOLDS]
            for z in range(len(truth))
            if inside[z].any()
        ]
    scoring = Scoring("", BINARY, 0.5, ScoreOptions(unit="slice"))
    rows = score([Evaluation(scoring, tuple(comparisons))], None, Progress())
    found = {row.metric: row for row in rows if (row.volume, row.class_name) == ("all", "mito")}
    expected = interval(np.concatenate([parts, np.ones_like(parts)], axis=1), best_mean)
    assert (found["V_rand"].low, found["V_rand"].high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    for metric in ("V_rand", "F1"):
        assert "95 % interval over 6 units (slice)" in found[metric].rule


def test_objects_of_several_volumes_are_never_taken_together():
    tables = [Contingency.of([1, 1, 2, 0], [1, 1, 0, 2]), Contingency.of([1, 2, 2, 2], [1, 1, 1, 1])]
    found, expected = InstanceCounts.of(apart(tables)), InstanceCounts.of(tables[0]) + InstanceCounts.of(tables[1])
    assert (found.n_truth, found.n_prediction) == (expected.n_truth, expected.n_prediction) == (4, 3)
    np.testing.assert_array_equal(found.tp, expected.tp)
    np.testing.assert_array_equal(panoptic_quality(found), panoptic_quality(expected))


def test_ranking_of_the_voxels_that_count(case):
    truth, scores, inside, evaluated = case
    rows = evaluated(0.5)
    assert rows["AUC-ROC"].value == pytest.approx(roc_auc_score(truth[inside], scores[inside]), abs=1e-9)
    assert rows["AP"].value == pytest.approx(average_precision_score(truth[inside], scores[inside]), abs=1e-9)
    assert rows["AP"].n == inside.sum()


def test_every_class_is_judged_against_the_rest():
    rng = np.random.default_rng(6)
    truth = np.kron(rng.integers(0, 4, (2, 8, 9)), np.ones((1, 3, 3))).astype(np.uint8)
    found = np.where(rng.random(truth.shape) < 0.1, rng.integers(0, 4, truth.shape), truth).astype(np.uint8)
    options = ScoreOptions(voxel_size_nm=SIZE, complement=True)

    def values(predicted, true, classes, name):
        rows = evaluate(image_of_array(predicted), image_of_array(true), classes=classes, options=options)
        return {row.metric: row.value for row in rows if row.class_name == name}

    for number, name in enumerate(MANY.names[1:], start=1):
        alone = values(*((array == number).astype(np.uint8) for array in (found, truth)), BINARY, "mito")
        several = values(found, truth, MANY, name)
        own = set(alone) - {"F1_slice_mean_paper"}  # looks at all classes
        assert {"V_rand", "V_info_raw_3d", "components_TP", "PQ_3d", "HD95", "clDice"} < own
        assert {metric: several[metric] for metric in own} == pytest.approx({metric: alone[metric] for metric in own})
    other = values(*((array > 0).astype(np.uint8) for array in (found, truth)), BINARY, "background")
    positive = values(*((array == 0).astype(np.uint8) for array in (found, truth)), BINARY, "mito")
    for metric in ("F1", "Jaccard", "sensitivity", "specificity", "PPV", "NPV"):
        assert other[metric] == positive[metric]


def test_object_ids_where_the_mask_counts(tmp_path):
    truth, scores = speckled(7)
    ids, found, inside = label(truth), label(cut(scores, 0.5)), inside_of(True)
    for name, array in (("ids", ids), ("found", found), ("mask", inside)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array.astype(np.uint16), photometric="minisblack")
    paths = [tmp_path / f"{name}.tif" for name in ("ids", "found", "mask")]
    rows = {
        row.metric: row.value
        for row in evaluate(*reversed(paths[:2]), mask=paths[2], options=ScoreOptions(objects=True))
    }
    overlaps = Contingency.of(ids, found, inside)
    assert rows["V_rand_raw"] == v_rand(overlaps).value
    assert rows["components_TP"] == detection(overlaps).tp
    assert rows["PQ"] == panoptic_quality(InstanceCounts.of(overlaps))[0]


def test_each_score_is_judged_at_its_own_threshold_of_validation_data(tmp_path):
    """Thresholds between the borders of bins, too, are exact on maps of floats."""
    truth, scores = speckled(8)
    floats = (scores / 255 + 1e-5 * np.random.default_rng(0).random(SHAPE)).clip(0, 1).astype(np.float32)
    chosen = {"F1_best": 0.3123456, "Jaccard_best": 0.4567891, "mIoU_best": 0.6, "V_rand": 0.2, "V_info": 0.7}
    kept = [Score("", "v", "foreground", metric, 1.0, 1, "", threshold=t) for metric, t in chosen.items()]
    write_scores(tmp_path / "validation.csv", kept)
    tifffile.imwrite(tmp_path / "truth.tif", truth * np.uint8(255), photometric="minisblack")
    tifffile.imwrite(tmp_path / "map.tif", floats, photometric="minisblack")
    options = ScoreOptions(thresholds_from=tmp_path / "validation.csv")
    rows = evaluate(tmp_path / "map.tif", tmp_path / "truth.tif", options=replace(options, binarize=0.5))
    found = {row.metric: row for row in rows if row.class_name == "foreground"}
    for metric, threshold in chosen.items():
        assert found[f"{metric.removesuffix('_best')}_validated"].threshold == threshold
    above = floats.astype(np.float64)
    assert found["F1_validated"].value == pytest.approx(f1_score(truth.ravel(), (above > 0.3123456).ravel()))
    assert found["Jaccard_validated"].value == pytest.approx(jaccard_score(truth.ravel(), (above > 0.4567891).ravel()))
    for place, (metric, threshold) in enumerate((("V_rand", 0.2), ("V_info", 0.7))):
        slices = [v_of(t, a > threshold, t >= 0, thin=True)[place] for t, a in zip(truth, above, strict=True)]
        assert found[f"{metric}_validated"].value == pytest.approx(np.nanmean(slices))


def test_the_height_of_a_single_plane_may_be_told_differently():
    truth, _ = speckled(9)
    for depth in (1, 2):
        labels = image_of_array(truth[:depth].astype(np.uint8))
        volume = Volume("v", labels, (labels,), voxel_size_nm=SIZE)
        options = ScoreOptions(voxel_size_nm=(1.0, 5.0, 8.0), tolerance_nm=3.0)
        if depth > 1:
            with pytest.raises(VoxelSizeError):
                evaluate(labels, volume, classes=BINARY, options=options)
        else:
            rows = evaluate(labels, volume, classes=BINARY, options=options)
            assert [row.value for row in rows if row.metric == "NSD" and "tolerance 3 nm" in row.rule] == [1]


@pytest.mark.parametrize("kind", ["labels", "prediction", "prediction without recipe", "map"])
def test_mask_and_voxel_size_reach_every_kind_of_prediction(tmp_path, kind):
    truth, scores = speckled(10)
    found, inside = cut(scores, 0.5), inside_of(True)
    for name, array in (("truth", truth), ("labels", found), ("map", scores), ("mask", inside)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array.astype(np.uint8), photometric="minisblack")
    write_prediction(tmp_path / "prediction.zarr", found[None].astype(np.uint8), BINARY, voxel_size_nm=None)
    recipe = recipe_at(
        tmp_path,
        "  classes: {names: [background, mito]}\n"
        "  volumes:\n    - {name: v, image: map.tif, labels: {kind: ids, path: truth.tif}}\n",
    )
    file = "prediction.zarr" if kind.startswith("prediction") else f"{kind}.tif"
    rows = evaluate(
        tmp_path / file,
        tmp_path / "truth.tif",
        recipe=None if kind.endswith("without recipe") else recipe,
        mask=tmp_path / "mask.tif",
        options=ScoreOptions(binarize=0.5 if kind == "map" else None, voxel_size_nm=SIZE),
    )
    of_mito = {row.metric: row for row in rows if row.class_name == "mito"}
    assert of_mito["F1"].value == pytest.approx(f1_score(truth[inside], found[inside]))
    assert of_mito["F1"].n == inside.sum()
    partition = of_mito["V_rand_fixed" if kind == "map" else "V_rand"]
    assert partition.value == pytest.approx(v_means(truth, scores, inside, 0.5)[0], abs=1e-12)
    assert "tolerance 40 nm" in of_mito["NSD"].rule


def test_maps_of_classes_taken_together_add_up_to_one(tmp_path):
    rng = np.random.default_rng(11)
    truth, found = rng.integers(0, 4, (2, 3, 12, 15)).astype(np.uint8)
    maps = rng.integers(0, 120, (3, 3, 12, 15)).astype(np.uint8)
    write_prediction(tmp_path / "p.zarr", found[None], MANY, probabilities=maps)
    options = ScoreOptions(merge={"cell": ("cell", "granule")})
    rows = evaluate(tmp_path / "p.zarr", image_of_array(truth), classes=MANY, options=options)
    ranked = {row.class_name: row.value for row in rows if row.metric == "AUC-ROC"}
    both = np.minimum(maps[0].astype(int) + maps[2], 255)
    assert ranked["cell"] == pytest.approx(roc_auc_score(np.isin(truth, (1, 3)).ravel(), both.ravel()), abs=1e-9)
    assert ranked["mito"] == pytest.approx(roc_auc_score((truth == 2).ravel(), maps[1].ravel()), abs=1e-9)
    write_prediction(tmp_path / "sure.zarr", found[None], MANY, probabilities=maps + np.uint8(100))
    sure = evaluate(tmp_path / "sure.zarr", image_of_array(truth), classes=MANY, options=options)
    above = np.minimum(both.astype(int) + 200, 255)
    (row,) = (one for one in sure if (one.class_name, one.metric) == ("cell", "AUC-ROC"))
    assert row.value == pytest.approx(roc_auc_score(np.isin(truth, (1, 3)).ravel(), above.ravel()), abs=1e-9)
