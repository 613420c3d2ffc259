"""Slices as people write them on the command line."""

from __future__ import annotations

import re

from cristae.errors import ScoreError


def parse_slices(text: str) -> tuple[int, ...]:
    """Slice numbers from a list such as `3,17,40:60:10`; ranges are START:STOP or START:STOP:STEP, without STOP.

    Raises:
        ScoreError: The text is no such list, or a slice stands in it twice.

    Example:
        >>> parse_slices("3,17,40:60:10")
        (3, 17, 40, 50)
    """
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        if re.fullmatch(r"\d{1,8}", part):
            found.append(int(part))
        elif re.fullmatch(r"\d{1,8}:\d{1,8}(:\d{1,8})?", part) and not part.endswith(":0"):
            found.extend(range(*map(int, part.split(":"))))
        else:
            raise ScoreError(f"'{part}' are no slices; expected numbers and ranges such as 3,17,40:60:10")
    if len(set(found)) != len(found) or not found:
        raise ScoreError(f"'{text}': name each slice once, and at least one")
    return tuple(sorted(found))
