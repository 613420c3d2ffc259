"""YAML text becomes plain values with lines, and nothing else."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.errors import RecipeError
from cristae.recipe.document import MAX_BYTES, read_document


def value_of(text: str) -> object:
    return read_document(f"a: {text}", "r.yaml").value["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0:13", "0:13"),  # YAML 1.1 reads 13
        ("12:30:45", "12:30:45"),  # YAML 1.1 reads 45045
        ("1e-4", 1e-4),  # YAML 1.1 reads text
        ("1E3", 1000.0),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("no", "no"),  # YAML 1.1 reads False
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1_000", "1_000"),  # YAML 1.1 reads 1000
        ("010", 10),  # YAML 1.1 reads 8
        ("0x10", 16),
        ("0o17", 15),
        ("2012-01-01", "2012-01-01"),  # YAML 1.1 reads a date
        ("'0'", "0"),
        ("64-191", "64-191"),
        ("<<", "<<"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = value_of(text)
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_as_written() -> None:
    document = read_document("values: {0: background, 0x1f: odd, no: maybe, 64-191: mito}", "r.yaml")
    assert list(document.value["values"]) == ["0", "0x1f", "no", "64-191"]


def test_places_are_lines_of_keys_and_items() -> None:
    document = read_document("a:\n  b: 1\n  c:\n    - x\n    - y\n", "r.yaml")
    assert document.places[("a",)] == "r.yaml:1"
    assert document.places[("a", "b")] == "r.yaml:2"
    assert document.places[("a", "c", 1)] == "r.yaml:5"
    assert document.place(("a", "c", 1, "nothing", 7)) == "r.yaml:5"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1\nb: *x", 1, "anchors"),
        ("b: *x", 1, "anchors"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']", 2, "tags such as '!!python/object/apply:os.system'"),
        ("a: !!str 1", 1, "tags"),
        ("a: ! 1", 1, "tags"),
        ("a:\n\tb: 1", 2, "tab"),
        ("a: 1\nb: 2\na: 3", 3, "given twice (first at r.yaml:1)"),
        ("a: 1\n'a': 3", 2, "given twice"),
        ("a: [1,\nb: 2", 2, "['"),
        ("a: {b: 1", 1, "'{'"),
        ('a: "x', 1, "quote"),
        ("a: *.tif", 1, "quotes"),
        ("a: b: c", 1, "':'"),
        ("a: 1\n---\nb: 1", 2, "second document"),
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("? [1, 2]\n: 3", 1, "plain text"),
        ("a: 1\nb: \x07", 2, "character"),
        ("a: " + "9" * 5000, 1, "too long"),
        ('a: "\\ud800"', 1, "halves"),
        ("[" * 5000, 1, "nested"),
        ("{a: " * 5000, 1, "nested"),
        ("- " * 5000, 1, "nested"),
    ],
)
def test_what_is_not_a_recipe_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_document(text, "r.yaml")
    message = str(caught.value)
    assert message.startswith(f"r.yaml:{line}: ")
    assert words in message


def test_a_billion_laughs_is_refused_at_once() -> None:
    text = "a0: &a0 [lol, lol]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    start = time.monotonic()
    with pytest.raises(RecipeError, match="anchors"):
        read_document(text, "r.yaml")
    assert time.monotonic() - start < 1


def test_size_is_bounded() -> None:
    with pytest.raises(RecipeError, match="not a recipe"):
        read_document("a" * (MAX_BYTES + 1), "r.yaml")


@given(st.text(alphabet=st.sampled_from(list("ab0:1 \n\t-[]{}#&*!|>'\"%@`,?.~\\é\x00")), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(RecipeError):
        read_document(text, "r.yaml")


Text = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=8)
Plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | Text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(Text, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(Text, Plain, min_size=1, max_size=3))
def test_json_is_read_as_json(value: dict[str, object]) -> None:
    """JSON is the part of YAML on which everybody agrees; its own reader is the reference."""
    text = json.dumps(value)
    assert read_document(text, "r.yaml").value == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        r'"C:\data\cell.tif"',  # \d and \c are no escapes
        r'"C:\Users\anna\cell.tif"',  # \U wants eight hexadecimal digits
        r'"C:\new\raw.tif"',  # \n and \r are, and would be read as line breaks
        r'"D:\temp"',
        r'"raw\new.tif"',
        r'"\\server\new\raw.h5"',
    ],
)
def test_backslashes_of_windows_in_double_quotes_are_explained(text: str) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml:1: .*single quotes.*forward slashes") as caught:
        value_of(text)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"'C:\new\raw.tif'", r"C:\new\raw.tif"),
        (r"C:\new\raw.tif", r"C:\new\raw.tif"),
        (r'"C:\\new\\raw.tif"', r"C:\new\raw.tif"),
        ('"C:/new/raw.tif"', "C:/new/raw.tif"),
        (r'"first line\nsecond line of it."', "first line\nsecond line of it."),
        (r'"a\tb"', "a\tb"),
    ],
)
def test_paths_of_windows_and_other_escapes_are_read(text: str, value: str) -> None:
    assert value_of(text) == value
