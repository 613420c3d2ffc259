"""Questions in the comments of a recipe, which are asked again until they are answered.

`cristae recipe new` writes them where the files leave doubt. A question is a line of its own, `# QUESTION: ...`, which
may go on in the comment lines below that are indented further (`#   ...`). It is answered when its lines are deleted.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from cristae.progress import Progress
from cristae.recipe.recipe import Recipe

_WIDTH = 116
_MARK = "# QUESTION: "
_FIRST = re.compile(r"^\s*#\s*QUESTION:\s*(.*\S)\s*$")
_FURTHER = re.compile(r"^\s*#\s{2,}(.*\S)\s*$")
_ANSWER = "Delete this once it is right."


def question_lines(question: str, indent: str) -> list[str]:
    """A question as comment lines of a recipe.

    Example:
        >>> question_lines("is 255 the background?", "  ")
        ['  # QUESTION: is 255 the background? Delete this once it is right.']
    """
    end = "" if question.endswith(("?", ".")) else "."
    return textwrap.wrap(
        f"{question}{end} {_ANSWER}",
        _WIDTH,
        initial_indent=f"{indent}{_MARK}",
        subsequent_indent=f"{indent}#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def questions_in(text: str) -> tuple[tuple[int, str], ...]:
    """The questions of a recipe's text with their lines, counted from 1.

    Example:
        >>> questions_in("name: a  # not one\\n# QUESTION: is this\\n#   right?\\nseed: 0")
        ((2, 'is this right?'),)
    """
    found: list[tuple[int, str]] = []
    open_ = False
    for number, line in enumerate(text.splitlines(), start=1):
        if first := _FIRST.match(line):
            found.append((number, first[1]))
        elif open_ and (further := _FURTHER.match(line)):
            found[-1] = (found[-1][0], f"{found[-1][1]} {further[1]}")
            continue
        open_ = first is not None
    return tuple(found)


def warn_open_questions(recipe: Recipe, progress: Progress) -> None:
    """Ask the questions again that stand in the file a recipe was read from."""
    source = recipe.source
    if source is None:
        return
    shown = source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source
    for line, question in _of_file(source):
        progress.warn(f"{shown}:{line}: still open: {question}")


def _of_file(source: Path) -> tuple[tuple[int, str], ...]:
    try:
        return questions_in(source.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return ()  # the recipe itself was read before; only its comments are lost
