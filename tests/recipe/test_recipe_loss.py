"""The loss as a recipe writes it: a sum of terms, its problems at their lines, and field names of earlier versions."""

from pathlib import Path
from typing import get_args

import pytest

from cristae.errors import RecipeError
from cristae.losses import BinaryCrossEntropy, JaccardDistance, SumLoss, Term
from cristae.recipe import renamed
from cristae.recipe.consistency import check_consistency
from cristae.recipe.document import read_document
from cristae.recipe.load import load_recipe, load_run_recipe, parse_recipe
from cristae.recipe.text import recipe_schema, recipe_to_yaml

SUM = """\
loss:
  name: sum
  terms:
    - name: binary_cross_entropy
    - {name: jaccard_distance, weight: 0.5, over: batch}
  l2: 1e-4
"""


def with_loss(text: str, loss: str) -> str:
    return text.replace("loss:\n  name: seget\n", loss)


def problem(text: str, *changes: str) -> str:
    with pytest.raises(RecipeError) as caught:
        check_consistency(parse_recipe(text, "r.yaml", changes))
    return str(caught.value)


def test_a_sum_reads_and_writes(text: str) -> None:
    recipe = parse_recipe(with_loss(text, SUM), "r.yaml")
    check_consistency(recipe)
    assert recipe.loss == SumLoss(terms=(BinaryCrossEntropy(), JaccardDistance(weight=0.5)), l2=1e-4)
    for defaults in (True, False):
        again = recipe_to_yaml(recipe, defaults=defaults, comments=True)
        assert parse_recipe(again).loss == recipe.loss
    schema = recipe_schema()["$defs"]
    listed = set(schema["SumLoss"]["properties"]["terms"]["items"]["discriminator"]["mapping"])
    assert listed == {term.model_fields["name"].default for term in get_args(get_args(Term)[0])}
    assert schema["JaccardDistance"]["properties"]["weight"]["exclusiveMinimum"] == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("binary_cross_entropy", "binary_crossentropy", "r.yaml:24: loss.terms.0: unknown name 'binary_crossentropy'"),
        ("weight: 0.5", "weight: 0", "r.yaml:25: loss.terms.1.weight: must be greater than 0, got 0"),
        ("weight: 0.5", "weight: -2", "r.yaml:25: loss.terms.1.weight: must be greater than 0, got -2"),
        ("over: batch", "ovr: batch", "r.yaml:25: loss.terms.1.ovr: unknown field; did you mean 'over'?"),
        ("over: batch", "over: epoch", "r.yaml:25: loss.terms.1.over: must be 'batch' or 'sample', got 'epoch'"),
    ],
)
def test_problems_of_terms_are_reported_at_their_lines(text: str, old: str, new: str, expected: str) -> None:
    assert problem(with_loss(text, SUM).replace(old, new)).startswith(expected)


def test_terms_that_do_not_suit_the_classes_are_found_before_any_work(text: str) -> None:
    found = problem(with_loss(text, SUM), "data.classes.names=[background, mito, membrane]")
    assert "loss.terms.0: loss term 'binary_cross_entropy'" in found
    assert "use 'cross_entropy'" in found
    assert "loss: loss 'seget' is for" in problem(text, "data.classes.names=[background, mito, membrane]")


def test_an_old_name_is_refused_with_the_new_one_at_its_line(text: str) -> None:
    old = with_loss(text, "loss:\n  name: seget\n  head_weights: [1.0]\n")
    assert problem(old) == "r.yaml:23: loss.head_weights: `head_weights` is now `auxiliary_weights`"
    both = problem(old.replace("epochs", "epoch"))
    assert [line.split(": ")[1] for line in both.splitlines()] == ["loss.head_weights", "training.epoch"]
    change = "loss.head_weights=[2]"
    assert problem(text, change) == f"--set {change}: loss.head_weights: `head_weights` is now `auxiliary_weights`"


def test_the_recipe_of_an_earlier_run_is_read_with_its_old_names(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(with_loss(text, "loss:\n  head_weights: [0.5]\n  name: seget\n"))
    recipe = load_run_recipe(path)
    assert recipe.loss.auxiliary_weights == (0.5,)
    assert recipe.source == path
    with pytest.raises(RecipeError, match="is now `auxiliary_weights`"):
        load_recipe(path)


def test_old_names_are_found_in_lists_and_a_new_one_beside_them_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "FIELDS", {"parts.*.size": "shape", "gone.deep": "here"})
    document = read_document("parts:\n  - {size: 1, a: 2}\n  - {b: 3}\n  - {size: 4, shape: 5}\nsize: 6\n", "r")
    assert renamed.old_names(document) == [
        "r:2: parts.0.size: `size` is now `shape`",
        "r:4: parts.2.size: `size` is now `shape`",
    ]
    new = renamed.with_new_names(document)
    assert new.value == {"parts": [{"shape": 1, "a": 2}, {"b": 3}, {"shape": 5}], "size": 6}
    assert new.place(("parts", 0, "shape")) == "r:2"


def test_every_new_name_in_the_table_is_a_field() -> None:
    fields = {name for part in recipe_schema()["$defs"].values() for name in part.get("properties", {})}
    assert set(renamed.FIELDS.values()) <= fields
    assert not {old.rpartition(".")[2] for old in renamed.FIELDS} & fields
