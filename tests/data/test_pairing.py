import pytest

from cristae.data.names import stem_of
from cristae.data.pairing import last_number, pair_files
from cristae.errors import LabelError


def test_stems_keep_inner_dots_and_lose_suffixes() -> None:
    assert stem_of("a/b/images.010.png") == "images.010"
    assert stem_of("cell.ome.tif") == "cell"
    assert stem_of(r"C:\data\slice_7.TIFF") == "slice_7"
    assert stem_of("v1.2") == "v1.2"
    assert [stem_of(f"7.{end}") for end in ("nii.gz", "dm3", "npy", "mat", "rec")] == ["7"] * 5


def test_last_number_ignores_leading_zeros_and_earlier_numbers() -> None:
    assert last_number("sub-rat1_sample-data12_SEM.png") == 12
    assert last_number("labels00000007.png") == 7
    assert last_number("membrane.png") is None


def test_names_pair_by_stem_whatever_the_suffix() -> None:
    pairs = pair_files(["l/b.tif", "l/a.tif"], ["i/a.png", "i/b.png", "i/c.png"], "name", where="labels of 'v'")
    assert pairs == {1: 0, 0: 1}


def test_numbers_pair_by_value() -> None:
    pairs = pair_files(["mito_0002.png", "mito_0010.png"], ["2.png", "9.png", "10.png"], "number", where="w")
    assert pairs == {0: 0, 2: 1}


def test_order_pairs_by_place() -> None:
    pairs = pair_files(["A0006", "A0007", "A0011"], ["A0000", "A0001", "A0005"], "order", where="w")
    assert pairs == {0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("match", ["name", "number"])
def test_a_label_without_its_image_is_named(match: str) -> None:
    with pytest.raises(LabelError, match=r"labels of 'v': 'z9\.png' has no image.*'a1\.png'") as error:
        pair_files(["a1.png", "z9.png"], ["a1.png", "b2.png"], match, where="labels of 'v'")  # type: ignore[arg-type]
    assert "match:" not in str(error.value)  # no rule pairs them


def test_order_needs_equal_counts() -> None:
    with pytest.raises(LabelError, match="3 label files and 2 images"):
        pair_files(["a", "b", "c"], ["a", "b"], "order", where="w")


def test_two_files_that_claim_one_place_are_refused() -> None:
    with pytest.raises(LabelError, match=r"label files 'a\.png', 'a\.tif' have the same name"):
        pair_files(["a.png", "a.tif"], ["a.png"], "name", where="w")
    with pytest.raises(LabelError, match=r"image files 'a1\.png', 'b1\.png' have the same last number"):
        pair_files(["x1.png"], ["a1.png", "b1.png"], "number", where="w")


def test_number_needs_a_number() -> None:
    with pytest.raises(LabelError, match=r"label file 'x\.png' has no number"):
        pair_files(["x.png"], ["a1.png"], "number", where="w")
