"""What the slices of one stack must have in common, whether they are pages of a file or files of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from cristae.errors import FormatError

Name = Callable[[int], str]
"""What a message calls slice number i."""


def slice_name(page: int) -> str:
    """A slice that is a page of a file."""
    return f"slice {page} (from 0)"


def differing(path: Path, what: str, texts: Sequence[str], name: Name) -> str | None:
    """A message that names the first slice unlike most others in `what`; None where all are alike."""
    found = Counter(texts)
    if len(found) <= 1:
        return None
    usual = found.most_common(1)[0][0]
    odd = next(i for i, text in enumerate(texts) if text != usual)
    most = f"{found[usual]} of {len(texts)} have {usual}"
    return f"{path}: slices differ in {what}: {most}, but {name(odd)} has {texts[odd]}"


def check_alike(path: Path, what: str, texts: Sequence[str], name: Name) -> None:
    """Do nothing for slices of one description.

    Raises:
        FormatError: One differs; it is named.
    """
    if message := differing(path, what, texts, name):
        raise FormatError(f"{message}. Save all slices in the same way")


def shared_palette(path: Path, palettes: Sequence[tuple[str, ...] | None], name: Name) -> tuple[str, ...] | None:
    """The palette that all slices share; a shorter one may be the beginning of a longer one.

    Raises:
        FormatError: Some have none, or an index has two colours; the slice is named.
    """
    distinct = {palette: i for i, palette in reversed(list(enumerate(palettes)))}
    if len(distinct) == 1:
        return palettes[0]
    check_alike(path, "palette", ["no palette" if p is None else "a palette" for p in palettes], name)
    longest = max((palette for palette in distinct if palette), key=len, default=())
    for palette, i in sorted(distinct.items(), key=lambda item: item[1]):
        pairs = enumerate(zip_longest(palette or (), longest))
        if odd := next(((k, mine, other) for k, (mine, other) in pairs if mine not in (None, other)), None):
            index, mine, other = odd
            raise FormatError(
                f"{path}: slices differ in palette: index {index} is {mine} in {name(i)}, but {other} in "
                f"{name(distinct[longest])}. Save all slices with one palette, or as RGB"
            )
    return longest


def shared_details(details: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What `inspect` shows of slices that may differ: how many have what."""
    shared: dict[str, str] = {}
    for key in dict.fromkeys(key for each in details for key in each):
        found = Counter(each.get(key, "") for each in details)
        parts = [f"{text} ({count} of {len(details)} slices)" for text, count in found.most_common() if text]
        shared[key] = next(iter(found)) if len(found) == 1 else "; ".join(parts)
    return shared
