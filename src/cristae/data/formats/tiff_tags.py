"""The directories of a TIFF file, read one by one: a truncated chain is noticed, and pages whose tags differ too."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

from cristae.errors import FormatError

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, ORIENTATION, SAMPLES, ROWS, X_RESOLUTION, Y_RESOLUTION, PLANAR = 266, 274, 277, 278, 282, 283, 284
RESOLUTION_UNIT, PREDICTOR, PALETTE, TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES = 296, 317, 320, 322, 323, 338
SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING = 339, 347, 530

_MEANING = frozenset({SUBFILE, ORIENTATION, PALETTE, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT})
"""Tags that change what pixels mean or where they are shown, but not how they are decoded."""
_WATCHED = _MEANING | {
    WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS, PLANAR, PREDICTOR, TILE_WIDTH,
    TILE_LENGTH, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING,
}  # fmt: skip
_CODES = {1: "B", 3: "H", 4: "I", 5: "II", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_BYTES = {kind: struct.calcsize(f"<{code}") for kind, code in _CODES.items()}
_LARGEST = 2**20
"""Values of one tag beyond this many bytes are damage: a palette of 16 bits has 393,216."""

Entry = tuple[int, int, bytes]
"""Tag, type, and value as bytes."""


@dataclass(frozen=True)
class PageTags:
    """What one page says about how its pixels are stored and what they mean."""

    order: str
    """'<' or '>'."""
    entries: tuple[Entry, ...]

    @cached_property
    def values(self) -> Mapping[int, tuple[int, ...]]:
        """The numbers of each tag; a fraction is two of them."""
        return {tag: _numbers(kind, raw, self.order) for tag, kind, raw in self.entries}

    def one(self, tag: int, default: int) -> int:
        """The first number of a tag, or what TIFF takes where it is missing."""
        return (self.values.get(tag) or (default,))[0]

    @cached_property
    def layout(self) -> tuple[Entry, ...]:
        """Pages with the same layout are decoded alike."""
        return tuple(entry for entry in self.entries if entry[0] not in _MEANING)

    def inherit(self, first: PageTags) -> PageTags:
        """The tags of a later page of a stack whose first page describes it: what is shown once holds for all."""
        own = {tag for tag, _, _ in self.entries}
        missing = [entry for entry in first.entries if entry[0] in (ORIENTATION, PALETTE) and entry[0] not in own]
        return PageTags(self.order, (*self.entries, *missing)) if missing else self

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as stored."""
        return self.one(LENGTH, 0), self.one(WIDTH, 0)

    @property
    def orientation(self) -> int:
        """1 to 8: which corner of the image comes first, and whether it runs along rows or columns."""
        stated = self.one(ORIENTATION, 1)
        # Readers take what is not one of the eight as missing.
        return stated if 1 <= stated <= 8 else 1

    @property
    def photometric(self) -> int:
        """What the values show; black is 0 where it is missing."""
        return self.one(PHOTOMETRIC, 1)

    @property
    def samples(self) -> int:
        """Values for each pixel."""
        return self.one(SAMPLES, 1)

    @property
    def is_extra(self) -> bool:
        """Whether this is a thumbnail or a transparency mask of another page."""
        return bool(self.one(SUBFILE, 0) & 0b101)

    @cached_property
    def palette(self) -> tuple[str, ...] | None:
        """Colours '#rrggbb' of the indices of a palette image."""
        numbers = self.values.get(PALETTE, ())
        if self.photometric != 3 or len(numbers) < 3:
            return None
        many = len(numbers) // 3
        # The specification says 16 bits; some programs write 8.
        deep = 257 if max(numbers) > 255 else 1
        return tuple("#" + "".join(f"{numbers[part * many + i] // deep:02x}" for part in range(3)) for i in range(many))

    def pixels_per_unit(self, axis: int) -> Fraction | None:
        """The resolution along X_RESOLUTION or Y_RESOLUTION; None where it is missing or nonsense."""
        number = self.values.get(axis, ())
        return Fraction(number[0], number[1]) if len(number) == 2 and 0 not in number else None


def scan_pages(path: Path) -> dict[int, PageTags]:
    """The tags of all pages of a file, by where their directories lie, in order; no pixel is read.

    Raises:
        FormatError: The chain of directories leaves the file, is broken, or runs in a circle.
    """
    with path.open("rb") as file:
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        version = struct.unpack(f"{order}H", start[2:4])[0] if order and len(start) > 7 else 0
        if version not in (42, 43) or (version == 43 and len(start) < 16):
            raise FormatError(f"{path}: is not a TIFF file although its name says so, or its first bytes are damaged")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _scan(path, content, order, version == 43)


def _scan(path: Path, content: mmap.mmap, order: str, big: bool) -> dict[int, PageTags]:
    number, link, step = ("Q", "Q", 20) if big else ("H", "I", 12)
    width, size = struct.calcsize(number), len(content)
    found: dict[int, PageTags] = {}
    reader = _DirectoryReader(content, order, step, step - struct.calcsize(link))
    at = struct.unpack_from(f"{order}{link}", content, 8 if big else 4)[0]
    while at:
        if at in found:
            raise FormatError(f"{path}: is damaged: its list of images runs in a circle")
        tags = struct.unpack_from(f"{order}{number}", content, at)[0] if at + width <= size else 0
        after = at + width + tags * step
        if not 0 < tags <= 4096 or after + struct.calcsize(link) > size:
            raise FormatError(
                f"{path}: is truncated or damaged: image {len(found) + 1} is described at byte {at},"
                f" but the file has {size} bytes"
            )
        found[at] = reader.read(content[at + width : after])
        at = struct.unpack_from(f"{order}{link}", content, after)[0]
    if not found:
        raise FormatError(f"{path}: holds no image")
    return found


class _DirectoryReader:
    """Pages of a stack are nearly always alike: what their directories say is taken apart once."""

    def __init__(self, content: mmap.mmap, order: str, step: int, head: int) -> None:
        self._content, self._order, self._step, self._head = content, order, step, head
        self._endian: Literal["little", "big"] = "little" if order == "<" else "big"
        self._plans: dict[bytes, list[tuple[int, int, int, int]]] = {}
        self._known: dict[tuple[bytes, ...], PageTags] = {}
        self._alike: dict[tuple[Entry, ...], PageTags] = {}

    def read(self, block: bytes) -> PageTags:
        """The tags of the directory whose entries are `block`."""
        heads = b"".join([block[i :: self._step] for i in range(self._head)])
        if heads not in self._plans:
            self._plans[heads] = self._plan(block)
        plan = self._plans[heads]
        values = tuple([self._value(block, at, nbytes) for _, _, at, nbytes in plan])
        key = (heads, *values)
        if key not in self._known:
            entries = tuple((tag, kind, raw) for (tag, kind, _, _), raw in zip(plan, values, strict=True))
            self._known[key] = self._alike.setdefault(entries, PageTags(self._order, entries))
        return self._known[key]

    def _plan(self, block: bytes) -> list[tuple[int, int, int, int]]:
        """Tag, type, place of the value and its length in bytes, of the tags that are watched."""
        count = "HHQ" if self._step == 20 else "HHI"
        starts = range(0, len(block), self._step)
        heads = ((at, *struct.unpack_from(f"{self._order}{count}", block, at)) for at in starts)
        return [(tag, kind, at + self._head, _BYTES.get(kind, 0) * n) for at, tag, kind, n in heads if tag in _WATCHED]

    def _value(self, block: bytes, at: int, nbytes: int) -> bytes:
        room = self._step - self._head
        if nbytes <= room:
            return block[at : at + nbytes]
        start = int.from_bytes(block[at : at + room], self._endian)
        return self._content[start : start + nbytes] if nbytes <= _LARGEST else b""


def _numbers(kind: int, raw: bytes, order: str) -> tuple[int, ...]:
    code = _CODES.get(kind, "B")[0]
    return struct.unpack(f"{order}{len(raw) // struct.calcsize(code)}{code}", raw)
