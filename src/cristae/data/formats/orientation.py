"""Images stored turned or mirrored, as TIFF and EXIF say by a number from 1 to 8, read as they are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """How stored rows and columns become those of the image that is shown: first transposed, then mirrored."""

    text: str
    """Where the first stored row and column are shown."""
    transposed: bool = False
    """Rows are stored as columns."""
    upside_down: bool = False
    mirrored: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that are shown of those that are stored, or the other way round."""
        return (width, height) if self.transposed else (height, width)

    def stored(self, rows: slice, columns: slice, height: int, width: int) -> tuple[slice, slice]:
        """Where the rows and columns of a shown image of `height` x `width` are stored."""
        down = slice(height - rows.stop, height - rows.start) if self.upside_down else rows
        along = slice(width - columns.stop, width - columns.start) if self.mirrored else columns
        return (along, down) if self.transposed else (down, along)

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """Stored pixels (rows, columns, ...) as they are shown.

        Example:
            >>> ORIENTATIONS[6].shown(np.array([[1, 2], [3, 4]]))
            array([[3, 1],
                   [4, 2]])
        """
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        return turned[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


ORIENTATIONS = {
    1: Orientation("as stored"),
    2: Orientation("stored mirrored, left for right", mirrored=True),
    3: Orientation("stored turned by 180 degrees", upside_down=True, mirrored=True),
    4: Orientation("stored upside down, last row first", upside_down=True),
    5: Orientation("stored transposed, columns as rows", transposed=True),
    6: Orientation("stored turned by 90 degrees, to be shown clockwise", transposed=True, mirrored=True),
    7: Orientation("stored transposed and turned by 180 degrees", transposed=True, upside_down=True, mirrored=True),
    8: Orientation("stored turned by 90 degrees, to be shown anticlockwise", transposed=True, upside_down=True),
}
"""By the number of TIFF's tag 274, which is also EXIF's; https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf,
page 36."""


def orientation_text(code: int) -> str:
    """What was done with an image stored in another orientation, for `inspect`.

    Example:
        >>> orientation_text(4)
        '4: stored upside down, last row first; read as it is shown'
    """
    return f"{code}: {ORIENTATIONS[code].text}; read as it is shown"
