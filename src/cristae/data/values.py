"""Label values to class ids: integers, ranges and colours, with errors that say which value and where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from cristae.data.classes import UNLABELLED, Classes
from cristae.data.image import Image
from cristae.errors import LabelError

UNLABELLED_CODE = 255
"""Code of a voxel that was not annotated; class ids end at 250."""
_UNMAPPED = 254
LOWEST, HIGHEST = -(2**63), 2**64 - 1
"""The least and the greatest integer that a file can hold."""
_LARGEST_FLOAT = 2.0**62
OPAQUE = "opaque"
"""Inside of a mask that is given by the alpha channel of a file."""
NONE_CLASS = "background"
"""With overlapping classes, what a value may be mapped to when it stands for no class."""


@dataclass(frozen=True)
class Context:
    """Who reads, for messages."""

    where: str
    """Such as "labels of 'cell'"."""
    cure: str
    """What to do about a value that is not mapped."""
    mask_block: str = ""
    """Lines to paste into the recipe where a 0/255 mask stands in place of class ids."""


@dataclass(frozen=True, eq=False)
class ValueTable:
    """Which values stand for which code."""

    rows: tuple[tuple[int, int, int], ...]
    """Inclusive ranges with their codes (low, high, code), sorted and disjoint; ends from -2^63 to 2^64 - 1."""
    kind: str = "numbers"
    """'numbers', 'colors' packed as 0xrrggbbaa, or 'alpha' for how opaque a voxel is."""
    _lookups: dict[str, np.ndarray] = field(default_factory=dict)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Codes (uint8) of integer values; 254 where a value is in no range."""
        if values.dtype in (np.uint8, np.int8, np.uint16, np.int16):
            lookup = self._lookups.get(values.dtype.str)
            if lookup is None:
                info = np.iinfo(values.dtype)
                ordered = np.concatenate([np.arange(0, info.max + 1), np.arange(info.min, 0)])
                lookup = self._lookups[values.dtype.str] = self._search(ordered)
            unsigned = values.view(f"u{values.dtype.itemsize}")
            codes: np.ndarray = np.take(lookup, unsigned)
            return codes
        return self._search(values)

    def codes_of(self, values: Sequence[int]) -> np.ndarray:
        """`encode` for numbers that no one type may hold together."""
        return np.array(
            [next((code for low, high, code in self.rows if low <= value <= high), _UNMAPPED) for value in values],
            np.uint8,
        )

    def _search(self, values: np.ndarray) -> np.ndarray:
        # No one type holds both ends of what files hold, so the rows follow the type of the values.
        dtype = np.dtype(np.uint64 if values.dtype == np.uint64 else np.int64)
        info = np.iinfo(dtype)
        rows = [row for row in self.rows if row[1] >= info.min and row[0] <= info.max]
        if not rows:
            return np.full(values.shape, _UNMAPPED, np.uint8)
        lows = np.array([max(low, int(info.min)) for low, _, _ in rows], dtype)
        highs = np.array([min(high, int(info.max)) for _, high, _ in rows], dtype)
        codes = np.array([code for _, _, code in rows], np.uint8)
        values = values.astype(dtype, copy=False)
        place = np.searchsorted(lows, values, side="right") - 1
        found = (place >= 0) & (values <= highs[place])
        return np.where(found, codes[place], np.uint8(_UNMAPPED))


def table_of_ids(classes: Classes) -> ValueTable:
    """The table of labels that hold class ids already; with overlapping classes 0 means none of them."""
    first = min(0, *classes.ids)
    return ValueTable(tuple((value, value, value) for value in range(first, classes.ids[-1] + 1)))


def table_of_values(values: Mapping[str, str], classes: Classes, *, where: str) -> ValueTable:
    """Read the `values:` block of mapped labels.

    Raises:
        LabelError: A class is unknown, ranges overlap, or numbers and colours are mixed.
    """
    if not values:
        raise LabelError(f"{where}: `values` is empty; list every label value with its class.")
    colors = [key for key in values if key.startswith("#")]
    if colors and len(colors) < len(values):
        raise LabelError(f"{where}: `values` mixes colours ({colors[0]}) and numbers; give all as one kind.")
    rows = sorted({(*parse_value(key, where), _code_of(name, classes, where)) for key, name in values.items()})
    return ValueTable(_disjoint(rows, bool(colors), where), "colors" if colors else "numbers")


def table_of_unlabelled(values: Sequence[str], *, where: str) -> ValueTable:
    """The table of the values that mean 'not annotated', whatever the others mean.

    Raises:
        LabelError: Numbers and colours are mixed, or ranges overlap.
    """
    colors = [value.startswith("#") for value in values]
    if any(colors) and not all(colors):
        raise LabelError(f"{where}: mixes colours and numbers; a file has one kind of values.")
    rows = sorted({(*parse_value(value, where), UNLABELLED_CODE) for value in values})
    return ValueTable(_disjoint(rows, any(colors), where), "colors" if any(colors) else "numbers")


def _disjoint(rows: list[tuple[int, int, int]], colors: bool, where: str) -> tuple[tuple[int, int, int], ...]:
    for (_, high, _), (low, _, _) in pairwise(rows):
        if low <= high:
            shown = _show(low, colors)
            raise LabelError(f"{where}: `values` names {shown} twice; ranges are inclusive and must not overlap.")
    return tuple(rows)


def table_of_inside(inside: str, *, where: str) -> ValueTable:
    """The table of a mask: code 1 inside, 0 elsewhere."""
    if inside == OPAQUE:
        return ValueTable(((0, 254, 0), (255, HIGHEST, 1)), "alpha")
    low, high = (0, 0) if inside == "nonzero" else parse_value(inside, where)
    within, without = (0, 1) if inside == "nonzero" else (1, 0)
    rows = ((LOWEST, low - 1, without), (low, high, within), (high + 1, HIGHEST, without))
    kind = "colors" if inside.startswith("#") else "numbers"
    return ValueTable(tuple(row for row in rows if row[0] <= row[1]), kind)


def parse_value(text: str, where: str) -> tuple[int, int]:
    """Read `159`, `64-191`, `#rrggbb` or `#rrggbbaa` as the inclusive range of numbers it stands for.

    What is fully transparent has no colour: `#rrggbb00` is the number 0 whatever its red, green and blue.
    """
    if text.startswith("#"):
        digits = text[1:] if len(text) == 9 else text[1:] + "ff"
        if len(digits) != 8:
            raise LabelError(f"{where}: '{text}' is not a colour; expected #rrggbb or #rrggbbaa.")
        color = 0 if digits.endswith("00") else int(digits, 16)
        return color, color
    numbers = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", text)
    if numbers is None:
        raise LabelError(f"{where}: '{text}' is not a value; expected a number, a range such as 64-191, or a colour.")
    low = int(numbers[1])
    high = low if numbers[2] is None else int(numbers[2])
    if low > high:
        raise LabelError(f"{where}: the range '{text}' has its ends swapped; write the lower end first.")
    if beyond := [end for end in (low, high) if not LOWEST <= end <= HIGHEST]:
        raise LabelError(f"{where}: '{text}': no file holds {beyond[0]}; integers go from {LOWEST} to {HIGHEST}.")
    return low, high


def encode(voxels: np.ndarray, file: Image, z: int, table: ValueTable, context: Context) -> np.ndarray:
    """Turn voxels as read into codes.

    Args:
        voxels: (Z, Y, X), or (Z, Y, X, colors), as read from `file`.
        file: Where they come from.
        z: Slice of the image that the first of them belongs to, for messages.
        table: Which values stand for which code.
        context: Who reads, for messages.

    Returns:
        uint8 codes (Z, Y, X).

    Raises:
        LabelError: A value is not mapped, or is no label at all (fractions, NaN, colours where numbers are expected).
    """
    if table.kind == "colors":
        values = packed_colors(voxels, file, context)
    elif table.kind == "alpha":
        values = _opacity(voxels, file, context)
    else:
        values = whole_numbers(voxels, file, context)
        if is_one_bit(file) and _knows_only_full(table):
            values = values * np.uint8(255)
    codes = table.encode(values)
    wrong = codes == _UNMAPPED
    if wrong.any():
        raise LabelError(_unmapped(values, wrong, file, z, table, context))
    return codes


def is_one_bit(file: Image) -> bool:
    """Whether a file stores only off and on, which other files of the same folder may write as 0 and 255."""
    return file.dtype == np.bool_ or file.details.get("bits") == "1"


def whole_numbers(voxels: np.ndarray, file: Image, context: Context) -> np.ndarray:
    """Label values as integers (Z, Y, X); grey saved as RGB or with an opaque alpha counts as grey."""
    grey = grey_of_colors(voxels, file, context.where) if file.colors > 1 else voxels
    if grey.dtype == np.bool_:
        return grey.view(np.uint8)
    if grey.dtype.kind in "iu":
        return grey
    if grey.dtype.kind != "f":
        raise LabelError(f"{context.where}: {file.path} holds {grey.dtype} values, which are no labels.")
    whole = np.isfinite(grey) & (grey == np.rint(grey))
    if not whole.all():
        example = float(grey[~whole].flat[0])
        raise LabelError(
            f"{context.where}: {file.path} holds {example:g} and {int((~whole).sum()) - 1} more values that are no "
            "whole numbers; labels must not be interpolated or probabilities. Save them as integers."
        )
    if (np.abs(grey) >= _LARGEST_FLOAT).any():
        raise LabelError(
            f"{context.where}: {file.path} holds {float(np.abs(grey).max()):g}, and numbers of that size are not exact "
            f"in {grey.dtype}. Save labels as integers."
        )
    return grey.astype(np.int64)


def grey_of_colors(voxels: np.ndarray, file: Image, where: str) -> np.ndarray:
    """The grey channel of a colour image whose colours are all grey and whose alpha is opaque.

    Raises:
        LabelError: A voxel has a colour, or is partly transparent.
    """
    grey = voxels[..., 0]
    opaque = full_value(voxels.dtype)
    if file.colors in (2, 4) and not (voxels[..., -1] == opaque).all():
        raise LabelError(
            f"{where}: {file.path} is partly transparent, so its grey values are ambiguous.\n"
            "  Map its colours instead, with keys '#rrggbbaa' under `values`, or save it without transparency."
        )
    if file.colors > 2 and not ((voxels[..., 1] == grey) & (voxels[..., 2] == grey)).all():
        raise LabelError(
            f"{where}: {file.path} is a colour image.\n"
            "  Map its colours to classes: `kind: values` with keys such as '#ff0000' under `values`."
        )
    return grey


def full_value(dtype: np.dtype) -> int:
    """What an alpha channel of a type holds where a voxel is opaque."""
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


def packed_colors(voxels: np.ndarray, file: Image, context: Context) -> np.ndarray:
    """Colours as numbers 0xrrggbbaa (Z, Y, X), uint32; what has no alpha is opaque."""
    if file.palette is not None and file.colors == 1:
        low, high = voxels.min(initial=0), voxels.max(initial=0)
        if low < 0 or high >= len(file.palette):
            raise LabelError(
                f"{context.where}: {file.path} holds the value {low if low < 0 else high}, but its palette has colours "
                f"for 0 to {len(file.palette) - 1} only; map its numbers instead of colours, or save it again."
            )
        ramp = np.array([parse_value(color, context.where)[0] for color in file.palette], np.uint32)
        listed: np.ndarray = ramp[voxels]
        return listed
    if voxels.dtype not in (np.uint8, np.bool_):
        raise LabelError(f"{context.where}: colours need 8 bits a channel, but {file.path} holds {voxels.dtype}.")
    channels = voxels.astype(np.uint32) if file.colors > 1 else voxels.astype(np.uint32)[..., None]
    red, green, blue = (channels[..., i] for i in ((0, 1, 2) if file.colors > 2 else (0, 0, 0)))
    alpha = channels[..., -1] if file.colors in (2, 4) else np.uint32(255)
    packed: np.ndarray = red << 24 | green << 16 | blue << 8 | alpha
    if file.colors in (2, 4):
        packed[channels[..., -1] == 0] = 0
    return packed


def _opacity(voxels: np.ndarray, file: Image, context: Context) -> np.ndarray:
    """The alpha channel, 255 where a voxel is opaque, whatever the type."""
    if file.colors not in (2, 4):
        raise LabelError(
            f"{context.where}: {file.path} has no transparency (alpha channel), so nothing says where it is opaque."
        )
    opaque: np.ndarray = np.where(voxels[..., -1] == full_value(voxels.dtype), 255, 0)
    return opaque


def _knows_only_full(table: ValueTable) -> bool:
    off, on, full = table.encode(np.array([0, 1, 255]))
    return bool(full not in (on, _UNMAPPED) and on in (off, _UNMAPPED))


def _code_of(name: str, classes: Classes, where: str) -> int:
    if name == UNLABELLED:
        return UNLABELLED_CODE
    if name in classes.names:
        return classes.id_of(name)
    if name == NONE_CLASS and not classes.exclusive:
        return 0
    extra = "" if classes.exclusive else f", '{NONE_CLASS}'"
    raise LabelError(
        f"{where}: `values` names the class '{name}'; known are {_quoted(classes.names)}{extra} and '{UNLABELLED}'."
    )


def _unmapped(values: np.ndarray, wrong: np.ndarray, file: Image, z: int, table: ValueTable, context: Context) -> str:
    first = int(np.argmax(wrong.any(axis=(1, 2))))
    found, counts = np.unique(values[wrong], return_counts=True)
    colors = table.kind == "colors"
    shown = [
        f"{_show(value, colors)} ({count} voxel{'' if count == 1 else 's'})"
        for value, count in zip(found[:8], counts[:8], strict=True)
    ]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    known = ", ".join(_show(a, colors) if a == b else f"{a}-{b}" for a, b, _ in table.rows[:12])
    message = (
        f"{context.where}: {file.path} holds {'value' if len(found) == 1 else 'values'} {', '.join(shown)}{more} in "
        f"slice {z + first}, expected only {known}.\n"
    )
    if context.mask_block and 255 in found and set(np.unique(values).tolist()) <= {0, 255}:
        cure = f"This looks like a mask of 0 and 255, not class ids. Describe it as one:\n{context.mask_block}"
    else:
        cure = context.cure
    return f"{message}  {cure}"


def _show(value: int, color: bool) -> str:
    return f"'#{int(value):08x}'" if color else str(int(value))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
