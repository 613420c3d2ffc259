"""Every refusal about files on one page of the docs, made by the commands themselves."""

from __future__ import annotations

import os
import re
from itertools import groupby
from pathlib import Path

import pytest
from refused_files import CASES, Case
from typer.testing import CliRunner

from cristae.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "refusals.md"
HEAD = """# What Cristae says about files

Files that people have and that Cristae refuses, asks about or warns of, with the command and its answer. This page is
made by the commands themselves; a test fails where it is out of date.
"""


def answer(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command says, in a folder that holds the case's files."""
    case.make(folder)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, list(case.arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def page(answers: list[tuple[Case, str]]) -> str:
    """The page, by kind."""
    parts = [HEAD]
    for kind, group in groupby(answers, key=lambda one: one[0].kind):
        parts.append(f"## {kind}\n")
        for case, said in group:
            command = " ".join(("cristae", *case.arguments))
            parts.append(f"**{case.situation[0].upper()}{case.situation[1:]}**\n\n```text\n$ {command}\n{said}\n```\n")
    return "\n".join(parts)


def test_the_page_says_what_the_commands_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for number, case in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        answers.append((case, answer(case, folder, monkeypatch)))
    assert [case.situation for case, said in answers if not said] == []
    assert [said for _, said in answers if re.search(str(tmp_path), said)] == []
    made = page(answers)
    if os.environ.get("CRISTAE_WRITE_PAGES"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made
