"""The page of an agreement shows the numbers of its tables."""

import re

import numpy as np

from cristae.data.classes import Classes
from cristae.metrics.agreement import Agreement
from cristae.report.agreement_page import agreement_page

THREE = Classes(names=("background", "cell", "granule"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)


def counted(classes, labels, names, **options):
    agreement = Agreement("em", classes, names, **options)
    agreement.count(0, [list(one) for one in labels], [None] * len(names))
    return agreement


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_matrices_confusions_and_fractions_are_shown():
    a = np.array([[[0, 0, 1, 1, 2, 2, 1, 1]]], np.uint8)
    b = np.array([[[0, 1, 1, 1, 2, 0, 1, 1]]], np.uint8)
    c = np.array([[[0, 1, 1, 2, 2, 2, 2, 2]]], np.uint8)
    agreement = counted(THREE, [a, b, c], ("anna", "bert", "<net>"), over=("granule",))
    page = agreement_page("platelets", agreement)
    text = text_of(page)
    assert "Agreement: platelets" in text
    assert "<net>" not in page
    assert "anna – 0.5000 0.4000 bert 0.5000 – 0.2000 &lt;net&gt; 0.4000 0.2000 –" in text
    assert "granule 50.0 % 0.0 % 50.0 %" in text
    assert "granule 33.33 % 16.67 %" in text
    assert "granule -16.67 +38.10 +54.76" in text
    assert "Highest mean IoU, granule 0.5000 anna vs bert" in text
    assert agreement_page("platelets", agreement) == page


def test_overlapping_classes_have_a_table_each_and_undefined_scores_a_dash():
    a = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]]], np.uint8)
    text = text_of(agreement_page("x", counted(MASKS, [a, a], ("a", "b"), cell="counted")))
    assert "not membrane" in text
    assert "not mito" in text
    assert "–" in text
    assert "Mean IoU, all".lower() in text.lower()


def test_many_pairs_fold_their_confusions():
    a = np.array([[[0, 1, 2]]], np.uint8)
    few, many = (agreement_page("x", counted(THREE, [a] * n, tuple(f"p{i}" for i in range(n)))) for n in (4, 5))
    assert few.count("<details>") == 1
    assert many.count("<details>") == 11
