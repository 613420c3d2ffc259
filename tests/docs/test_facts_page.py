"""The table of published facts: each row names a test that is there, and no fact of the four papers is left out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "published-facts.md"
ROW = re.compile(r"^\| (?P<fact>[^|]+) \| `(?P<file>tests/[\w/]+\.py)::(?P<test>\w+)` \|$")


def rows() -> list[tuple[str, str, str]]:
    found = [ROW.match(line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return [(row["fact"], row["file"], row["test"]) for row in found if row]


def test_every_row_of_the_table_is_read() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    bodies = [line for line in lines if line.startswith("|") and not line.startswith(("|---", "| fact |"))]
    assert len(rows()) == len(bodies) > 30


@pytest.mark.parametrize(("fact", "file", "test"), rows(), ids=lambda value: str(value)[:60])
def test_the_test_of_a_fact_is_there_and_asserts(fact: str, file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert test in functions, f"{fact}: {file} has no {test}"
    body = ast.dump(functions[test])
    assert "Assert(" in body or "assert_" in body or "raises" in body
