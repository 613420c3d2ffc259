"""Agreement of annotators and algorithms: what is aligned, what counts, what is refused, what is written."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from prediction_files import write_prediction
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.errors import MissingFileError, OutputExistsError, RunError, ScoreError, VoxelSizeError
from cristae.evaluation import blocks
from cristae.evaluation.agreement import AgreementOptions
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.load import parse_recipe
from cristae.workflows.agree import agree

THREE = Classes(names=("background", "cell", "granule"))
FOUR = Classes(names=("background", "cell", "granule", "core"))
BINARY = Classes(names=("background", "mito"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)
SHAPE = (5, 21, 24)
SIZE = (50.0, 10.0, 10.0)


def labels_of(n_classes, count=3, shape=SHAPE, seed=0):
    """Maps that agree in about seven voxels of ten."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, n_classes, shape)
    others = [np.where(rng.random(shape) < 0.7, base, rng.integers(0, n_classes, shape)) for _ in range(count)]
    return [other.astype(np.uint8) for other in others]


def images(arrays, names="abc", size=SIZE):
    return {name: image_of_array(array, voxel_size_nm=size) for name, array in zip(names, arrays, strict=True)}


def counts(agreement, first="a", second="b"):
    return agreement.pair(first, second).tables[0].counts


def find(scores, metric, class_name, run):
    found = [s for s in scores if (s.run, s.metric, s.class_name) == (run, metric, class_name)]
    assert len(found) == 1, found
    return found[0]


def recipe_at(folder, data):
    text = f"name: r\ndata:\n{data}\nmodel: {{name: unet_bn}}\nloss: {{name: cross_entropy_dice}}\n"
    (folder / "recipe.yaml").write_text(text)
    return parse_recipe(text, "recipe.yaml").read_from(folder / "recipe.yaml")


def test_three_participants_give_three_pairs_each_as_scikit_learn_counts_them():
    arrays = labels_of(3)
    agreement = agree(images(arrays), classes=THREE)
    scores = agreement.scores()
    assert [pair.name for pair in agreement.pairs] == ["a vs b", "a vs c", "b vs c"]
    for pair, (first, second) in zip(agreement.pairs, [(0, 1), (0, 2), (1, 2)], strict=True):
        a, b = arrays[first].ravel(), arrays[second].ravel()
        np.testing.assert_array_equal(pair.tables[0].counts, confusion_matrix(a, b))
        assert find(scores, "kappa", "all", pair.name).value == pytest.approx(cohen_kappa_score(a, b))
        f1 = find(scores, "F1", "granule", pair.name).value
        assert f1 == pytest.approx(f1_score(a == 2, b == 2))
        means = [f1_score(x.ravel() == 2, y.ravel() == 2) for x, y in zip(arrays[first], arrays[second], strict=True)]
        assert find(scores, "F1_slice_mean", "granule", pair.name).value == pytest.approx(np.mean(means))


@pytest.mark.parametrize("voxels", [64, 1000])
def test_blocks_add_up_to_the_whole(monkeypatch, voxels):
    arrays = labels_of(3, seed=4)
    arrays[1][:, 4:18] = 0
    near = AgreementOptions(cell_from="b", margin_nm=50.0)
    mask = image_of_array(labels_of(2, 1, seed=9)[0])
    whole = agree(images(arrays), classes=THREE, mask=mask, options=near)
    cut = []

    def small_blocks(*stacks):
        cut.extend(blocks.blocks_of(*stacks, voxels=voxels))
        return cut

    monkeypatch.setattr("cristae.evaluation.agreement.blocks_of", small_blocks)
    chunked = {name: replace(image, chunks=(1, 8, 8)) for name, image in images(arrays).items()}
    parts = agree(chunked, classes=THREE, mask=mask, options=near)
    assert len(cut) > 4
    assert repr(parts.scores()) == repr(whole.scores())
    assert 0 < whole.pairs[0].amounts[0].counted < np.count_nonzero(mask.read())


def test_every_voxel_of_every_participant_is_read_once(monkeypatch):
    reads = np.zeros((3, *SHAPE), np.int64)

    def watched(place, image):
        def read(box):
            reads[place][box.slices] += 1
            return image.reader(box)

        return replace(image, reader=read, chunks=(1, 8, 8))

    monkeypatch.setattr("cristae.evaluation.agreement.blocks_of", lambda *stacks: blocks.blocks_of(*stacks, voxels=500))
    sources = {name: watched(i, image) for i, (name, image) in enumerate(images(labels_of(3)).items())}
    agree(sources, classes=THREE)
    assert (reads == 1).all()


def test_only_what_is_valid_for_both_and_inside_the_mask_counts():
    arrays = labels_of(3)
    valid, mask = labels_of(2, 2, seed=3)
    volume = Volume("em", image_of_array(arrays[0]), (image_of_array(arrays[0]),), image_of_array(valid))
    sources = {"a": volume, "b": image_of_array(arrays[1]), "c": image_of_array(arrays[2])}
    agreement = agree(sources, classes=THREE, mask=image_of_array(mask))
    a, b, c = arrays
    both = (valid != 0) & (mask != 0)
    np.testing.assert_array_equal(counts(agreement), confusion_matrix(a[both], b[both]))
    np.testing.assert_array_equal(counts(agreement, "b", "c"), confusion_matrix(b[mask != 0], c[mask != 0]))
    assert (agreement.volume, agreement.cell) == ("em", "mask")
    fraction = find(agreement.scores(), "volume_fraction", "granule", "b")
    assert (fraction.value, fraction.n) == (pytest.approx((b[mask != 0] == 2).mean()), mask.sum())


def test_the_cell_of_one_gives_a_cell_to_those_who_do_not_separate_cells():
    """One annotator labelled the left of two cells, the algorithm both, with a rim of one more voxel."""
    annotator, algorithm = np.zeros((2, 1, 12, 40), np.uint8)
    annotator[0, 3:9, 4:14] = 1
    annotator[0, 5:7, 6:10] = 2
    algorithm[0, 2:10, 3:15] = 1
    algorithm[0, 5:7, 7:10] = 2
    algorithm[0, 3:9, 24:36] = 2
    sources = {"anna": image_of_array(annotator), "net": image_of_array(algorithm)}
    near = agree(sources, classes=THREE, options=AgreementOptions(cell_from="anna", margin_nm=20, voxel_size_nm=SIZE))
    scores = near.scores()
    assert near.cell == "labelled"
    assert find(scores, "volume_fraction", "granule", "anna").value == pytest.approx(8 / 60)
    net = find(scores, "volume_fraction", "granule", "net")
    assert (net.value, net.n) == (pytest.approx(6 / 96), 96)
    assert find(scores, "volume_fraction_difference", "granule", "anna vs net").value == pytest.approx(6 / 96 - 8 / 60)
    assert find(scores, "Jaccard", "granule", "anna vs net").value == pytest.approx(6 / 8)
    everywhere = agree(sources, classes=THREE).scores()
    assert find(everywhere, "volume_fraction", "granule", "net").value == pytest.approx(78 / 168)
    assert find(everywhere, "Jaccard", "granule", "anna vs net").value == pytest.approx(6 / 80)


def test_predictions_of_parts_meet_on_their_common_part(tmp_path):
    a, b, c = labels_of(3)
    one, two = Box((1, 0, 4), (5, 20, 24)), Box((0, 5, 0), (4, 21, 20))
    sources = {
        "a": write_prediction(tmp_path / "a.zarr", a[one.slices][None], THREE, box=one, volume_shape=SHAPE),
        "b": write_prediction(tmp_path / "b.zarr", b[two.slices][None], THREE, box=two, volume_shape=SHAPE),
        "c": image_of_array(c),
    }
    mask = labels_of(2, 1, seed=2)[0]
    common = one.intersect(two).slices
    for given in (mask, mask[common]):
        agreement = agree(sources, mask=image_of_array(given))
        keep = mask[common] != 0
        for first, second, x, y in (("a", "b", a, b), ("b", "c", b, c)):
            expected = confusion_matrix(x[common][keep], y[common][keep])
            np.testing.assert_array_equal(counts(agreement, first, second), expected)
        assert sorted(agreement.pairs[0].slices) == [1, 2, 3]
    part = agree({"a": sources["a"], "d": image_of_array(c[one.slices])})
    np.testing.assert_array_equal(
        counts(part, "a", "d"), confusion_matrix(a[one.slices].ravel(), c[one.slices].ravel())
    )
    far = write_prediction(
        tmp_path / "far.zarr", a[:1, :, :4][None], THREE, box=Box((0, 0, 0), (1, 21, 4)), volume_shape=SHAPE
    )
    with pytest.raises(ScoreError, match="no common part"):
        agree({"a": sources["a"], "far": far})


def test_merged_classes_are_counted_as_one():
    arrays = labels_of(4)
    agreement = agree(
        images(arrays),
        classes=FOUR,
        options=AgreementOptions(merge={"granule": ["granule", "core"]}, over=("granule",)),
    )
    merged = [np.minimum(array, 2) for array in arrays]
    assert agreement.classes.names == THREE.names
    np.testing.assert_array_equal(counts(agreement), confusion_matrix(merged[0].ravel(), merged[1].ravel()))
    with pytest.raises(ScoreError, match="no class 'core' to average over"):
        agree(
            images(arrays),
            classes=FOUR,
            options=AgreementOptions(merge={"granule": ["granule", "core"]}, over=("core",)),
        )


def test_overlapping_classes_of_predictions(tmp_path):
    one, two = np.stack(labels_of(2, 2, seed=1)), np.stack(labels_of(2, 2, seed=6))
    sources = {
        name: write_prediction(tmp_path / f"{name}.zarr", masks, MASKS) for name, masks in (("a", one), ("b", two))
    }
    pair = agree(sources).pair("a", "b")
    for table, x, y in zip(pair.tables, one, two, strict=True):
        np.testing.assert_array_equal(table.counts, confusion_matrix(x.ravel(), y.ravel()))
    joined = agree(sources, options=AgreementOptions(merge={"any": ["mito", "membrane"]}))
    np.testing.assert_array_equal(counts(joined), confusion_matrix(one.any(axis=0).ravel(), two.any(axis=0).ravel()))
    with pytest.raises(ScoreError, match=r"'c': .* has 1 label images"):
        agree({**sources, "c": image_of_array(one[0])})


def test_a_recipe_gives_meaning_to_values_ids_and_what_is_unlabelled(tmp_path):
    a, b, c = labels_of(2)
    grey = np.array([0, 255], np.uint8)
    holes = grey[a].copy()
    holes[1] = 9
    tifffile.imwrite(tmp_path / "a.tif", holes)
    tifffile.imwrite(tmp_path / "b.tif", grey[b])
    tifffile.imwrite(tmp_path / "c.tif", c)
    data = """\
  classes: {{names: [background, mito]}}
  volumes:
    - {{name: em, image: b.tif, labels: {{kind: values, path: b.tif, values: {{0: background, 255: mito{}}}}}}}
"""
    plain = recipe_at(tmp_path, data.format(""))
    agreement = agree({"b": "em", "c": str(tmp_path / "c.tif")}, recipe=plain)
    np.testing.assert_array_equal(counts(agreement, "b", "c"), confusion_matrix(b.ravel(), c.ravel()))
    assert agreement.volume == "em"
    holed = recipe_at(tmp_path, data.format(", 9: unlabelled"))
    agreement = agree({"a": tmp_path / "a.tif", "b": tmp_path / "b.tif"}, recipe=holed)
    keep = np.arange(SHAPE[0]) != 1
    np.testing.assert_array_equal(counts(agreement), confusion_matrix(a[keep].ravel(), b[keep].ravel()))
    agreement = agree(
        {"b": "em", "c": str(tmp_path / "c.tif")}, recipe=holed
    )  # ids, though some values mean unlabelled
    np.testing.assert_array_equal(counts(agreement, "b", "c"), confusion_matrix(b.ravel(), c.ravel()))


def test_grey_maps_and_probabilities_are_binarised_alike(tmp_path):
    rng = np.random.default_rng(8)
    grey = rng.integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    labels = (grey[1] > 127).astype(np.uint8)
    kept = write_prediction(tmp_path / "p.zarr", labels[None], BINARY, probabilities=grey[1][None])
    bare = write_prediction(tmp_path / "bare.zarr", labels[None], BINARY)
    tifffile.imwrite(tmp_path / "grey.tif", grey[0])
    for threshold, limit in ((0.2, 50), (0.5, 127)):
        agreement = agree({"a": tmp_path / "grey.tif", "b": kept}, options=AgreementOptions(binarize=threshold))
        expected = confusion_matrix((grey[0] > limit).ravel(), (grey[1] > limit).ravel())
        np.testing.assert_array_equal(counts(agreement), expected)
    agreement = agree({"a": image_of_array(grey[0]), "b": bare}, options=AgreementOptions(binarize=0.5))
    np.testing.assert_array_equal(counts(agreement), expected)
    assert agreement.cell == "counted"
    with pytest.raises(ScoreError, match="labels only"):
        agree({"a": image_of_array(grey[0]), "b": bare}, options=AgreementOptions(binarize=0.4))


def test_ids_need_a_meaning_and_only_one(tmp_path):
    a, b, _ = labels_of(3)
    for name, array in (("a", a), ("b", b)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array)
    paths = {"a": tmp_path / "a.tif", "b": tmp_path / "b.tif"}
    np.testing.assert_array_equal(counts(agree(paths, classes=THREE)), confusion_matrix(a.ravel(), b.ravel()))
    with pytest.raises(ScoreError, match=r"a\.tif, .*b\.tif: it is not known what the values mean"):
        agree(paths)
    with pytest.raises(MissingFileError):
        agree({**paths, "c": tmp_path / "missing.tif"})
    with pytest.raises(ScoreError, match="give one of them"):
        agree(paths, classes=THREE, options=AgreementOptions(binarize=0.5))
    other = write_prediction(tmp_path / "p.zarr", a[None] % 2, BINARY)
    three = write_prediction(tmp_path / "q.zarr", a[None], THREE)
    with pytest.raises(ScoreError, match=r"'p': .* was made for the classes background, mito"):
        agree({"q": three, "p": other})
    running = write_prediction(tmp_path / "r.zarr", a[None], THREE, status="running")
    with pytest.raises(RunError, match="not finished"):
        agree({"q": three, "r": running})
    with pytest.raises(RunError, match="not finished"):
        agree({"q": three, "r": f"{running}:/labels/segmentation"})


def test_shapes_sizes_and_values_that_do_not_fit_are_told_with_whose_they_are():
    a, b, c = labels_of(3)
    with pytest.raises(ScoreError, match=r"'a' \(5, 21, 24\), 'b' \(5, 21, 23\)"):
        agree(images([a, b[..., 1:]], "ab"), classes=THREE)
    with pytest.raises(ScoreError, match="the mask"):
        agree(images([a, b], "ab"), classes=THREE, mask=image_of_array(c[1:]))
    sizes = {"a": image_of_array(a), **images([b], "b"), **images([c], "c", (40.0, 10.0, 10.0))}
    with pytest.raises(VoxelSizeError, match=r"'b' .*says 50 x 10 x 10 nm, 'c' .*says 40 x 10 x 10 nm"):
        agree(sizes, classes=THREE)
    with pytest.raises(VoxelSizeError, match="the command says 50 x 4 x 4 nm"):
        agree(images([a, b], "ab"), classes=THREE, options=AgreementOptions(voxel_size_nm=(50.0, 4.0, 4.0)))
    nearly = {**images([a], "a"), **images([b], "b", (50.2, 10.05, 10.0))}
    assert agree(nearly, classes=THREE).pairs[0].amounts[0].counted == a.size
    wrong = b.copy()
    wrong[3, 2, 2] = 9
    with pytest.raises(ScoreError, match=r"slice 3 of .*'b' holds 9, but there are 3 classes"):
        agree(images([a, wrong], "ab"), classes=THREE)


def test_a_cell_needs_a_name_a_distance_and_a_voxel_size():
    a, b, _ = labels_of(3)
    sources = {"a": image_of_array(a), "b": image_of_array(b)}
    with pytest.raises(ScoreError, match="--margin-nm"):
        agree(sources, classes=THREE, options=AgreementOptions(cell_from="a"))
    with pytest.raises(ScoreError, match=r"no participant 'x'.*a, b"):
        agree(sources, classes=THREE, options=AgreementOptions(cell_from="x", margin_nm=5))
    with pytest.raises(VoxelSizeError, match="--voxel-size-nm"):
        agree(sources, classes=THREE, options=AgreementOptions(cell_from="a", margin_nm=5))
    with pytest.raises(ScoreError, match="at least two participants, there is only 'a'"):
        agree({"a": sources["a"]}, classes=THREE)


class Heard(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def test_pairs_without_common_voxels_are_told_and_nothing_at_all_is_refused():
    a, b, c = labels_of(3)
    upper = np.zeros(SHAPE, np.uint8)
    upper[:2] = 1

    def volume(labels, valid):
        return Volume("em", image_of_array(labels), (image_of_array(labels),), image_of_array(valid))

    heard = Heard()
    sources = {"a": volume(a, upper), "b": volume(b, 1 - upper), "c": image_of_array(c)}
    agreement = agree(sources, classes=THREE, progress=heard)
    assert heard.warnings == ["a vs b: no voxel counts for both, so their scores are undefined"]
    assert np.isnan(find(agreement.scores(), "mIoU", "all", "a vs b").value)
    assert agreement.pair("a", "c").amounts[0].counted == a[:2].size
    del sources["c"]
    with pytest.raises(ScoreError, match="no voxel counts"):
        agree(sources, classes=THREE)


def test_scores_confusions_and_a_page_are_written_and_never_overwritten(tmp_path):
    arrays = labels_of(3)
    agreement = agree(images(arrays), classes=THREE, out=tmp_path / "agree.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "agree-report.html",
        "agree.confusions.csv",
        "agree.csv",
        "agree.json",
    ]
    assert repr(read_scores(tmp_path / "agree.csv")) == repr(agreement.scores())
    with (tmp_path / "agree.confusions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 9
    voxels = [int(row["voxels"]) for row in rows if (row["first"], row["second"]) == ("b", "c")]
    assert voxels == confusion_matrix(arrays[1].ravel(), arrays[2].ravel()).ravel().tolist()
    shares = [float(row["share"]) for row in rows]
    assert [sum(shares[place : place + 3]) for place in range(0, 27, 3)] == pytest.approx([1] * 9)
    page = (tmp_path / "agree-report.html").read_text()
    value = find(agreement.scores(), "mIoU", "foreground", "a vs c").value
    assert f"{value:.4f}" in page
    assert not re.search(r"(src|href)=\"https?:", page)
    (tmp_path / "agree.csv").unlink()
    (tmp_path / "agree.json").unlink()
    with pytest.raises(OutputExistsError, match=r"agree\.confusions\.csv"):
        agree(images(arrays), classes=THREE, out=tmp_path / "agree.csv")
