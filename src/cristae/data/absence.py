"""Whether data are simply not on this machine yet, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from cristae.data.description import DataConfig
from cristae.data.formats.paths import find_source
from cristae.data.public import missing_set
from cristae.data.public.brought import origin_of
from cristae.errors import FormatError, MissingFileError


def absent_data(data: DataConfig, folder: Path) -> str | None:
    """What to do where none of the data is on this machine yet.

    Args:
        data: Complete, as `complete_data` gives it.
        folder: The recipe's folder.

    Returns:
        None where some of it is there, or where nothing says how to get it: then opening says what is wrong.
    """
    if data.set is not None:
        return missing_set(data.set)
    paths = [path for volume in data.volumes for path in volume.paths]
    if data.available_from is None or not all(_is_absent(folder / path) for path in paths):
        return None
    origin = origin_of(data.available_from)
    return f"they come from {origin}, and belong where data.volumes says, such as {folder / paths[0]}"


def _is_absent(path: Path) -> bool:
    try:
        find_source(path)
    except MissingFileError as error:  # what may not be read is named so, too, but is there
        return error.__cause__ is None or isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)
    except FormatError:
        return False
    return False
