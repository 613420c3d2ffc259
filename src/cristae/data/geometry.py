"""Where the voxels of files lie, and whether two files of one volume agree on it.

Two voxel sizes are the same within 1 % on each axis, two origins within half a voxel. What a file does not say agrees
with everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from cristae.data.box import Box, Triple
from cristae.data.image import Image, VoxelSize, same_voxel_size, voxel_size_text
from cristae.data.unit_slips import check_typed_size, slip_between
from cristae.errors import VolumeError, VoxelSizeError

ALL_AXES, IN_PLANE = (0, 1, 2), (1, 2)
"""Axes that are compared; of a single slice the thickness is not."""
CORRECT = (
    "compare maps of one volume on one grid, or correct the one that is wrong (--voxel-size-nm is for files that do "
    "not say it, or say it in a wrong unit)"
)
"""What to do about voxel sizes that differ, where a command compares files."""


@dataclass(frozen=True)
class Geometry:
    """Where a file's voxels lie, as far as it says."""

    who: str
    """The file for messages, such as "the mask cell.tif"."""
    shape: Triple
    """Voxels (z, y, x)."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x)."""
    origin_nm: VoxelSize | None = None
    """Centre of the first voxel (z, y, x)."""
    orientation: str | None = None
    """Which way the axes point."""

    @classmethod
    def of(cls, image: Image, what: str, *, voxel_size_nm: VoxelSize | None = None) -> Geometry:
        """That of an image.

        Args:
            image: The image.
            what: It is, such as "the mask".
            voxel_size_nm: (z, y, x), where it is known better than the file does.
        """
        size, orientation = voxel_size_nm or image.voxel_size_nm, image.details.get("orientation")
        return cls(f"{what} {image.path}".strip(), image.shape, size, image.origin_nm, orientation)


def check_same_place(
    first: Geometry, second: Geometry, *, cure: str = CORRECT, axes: Sequence[int] = ALL_AXES
) -> tuple[str, ...]:
    """Whether two files of one shape lie at the same place.

    Args:
        first: One file.
        second: The other.
        cure: What to do where voxel sizes differ, for the message.
        axes: Those that are compared.

    Returns:
        A warning where both state origins more than half a voxel apart.

    Raises:
        VoxelSizeError: The voxel sizes differ by more than 1 %.
        VolumeError: The orientations differ.
    """
    if None not in (first.orientation, second.orientation) and first.orientation != second.orientation:
        raise VolumeError(
            f"{second.who} has the orientation {second.orientation}, {first.who} {first.orientation}: one is flipped "
            "or turned against the other; save both in the same orientation"
        )
    check_same_size(first, second, cure=cure, axes=axes)
    shift = _shift(first, second)
    if shift is None or all(abs(shift[axis]) <= 0.501 for axis in axes):
        return ()
    away = ", ".join(f"{voxels:.4g}" for voxels in shift)
    return (
        f"{second.who} begins at {voxel_size_text(second.origin_nm)}, {first.who} at "
        f"{voxel_size_text(first.origin_nm)} (z, y, x), {away} voxels away: one may be a crop of another place. They "
        "are laid on each other from the first voxel; check that they belong together",
    )


def check_same_size(first: Geometry, second: Geometry, *, cure: str, axes: Sequence[int] = ALL_AXES) -> None:
    """Do nothing where two voxel sizes are the same, or one is not known.

    Raises:
        VoxelSizeError: They differ by more than 1 % on one of `axes`.
    """
    a, b = first.voxel_size_nm, second.voxel_size_nm
    if a is None or b is None or same_voxel_size(a, b, axes=axes):
        return
    slip = slip_between(a, b, axes=axes)
    raise VoxelSizeError(
        f"voxel sizes differ: {first.who} says {voxel_size_text(a)}, {second.who} says {voxel_size_text(b)} "
        f"(z, y, x){f', {slip}' if slip else ''}; {cure}"
    )


def corrected_size(
    who: str,
    found: VoxelSize | None,
    stated: VoxelSize | None,
    *,
    flat: bool = False,
    warn: Callable[[str], None] = lambda message: None,
) -> VoxelSize | None:
    """The voxel size of one file: what it says, or what the command states where the file says nothing or slipped.

    Args:
        who: The file, for messages.
        found: (z, y, x) in nm, as the file says.
        stated: By the command.
        flat: Of a single slice, whose thickness may differ.
        warn: Takes what is said where the file's size is replaced, which differs by a slip of the unit or the axes.

    Raises:
        VoxelSizeError: The two differ otherwise, or the stated one is no likely voxel size.
    """
    if stated is None:
        return found
    check_typed_size(stated, flat=flat)
    if found is None:
        return stated
    axes = IN_PLANE if flat else ALL_AXES
    slip = slip_between(stated, found, axes=axes)
    if slip:
        warn(
            f"{who} says {voxel_size_text(found)}, the command {voxel_size_text(stated)} (z, y, x), {slip}; the "
            "command's is taken"
        )
        return stated
    check_same_size(
        Geometry(who, (0, 0, 0), found),
        Geometry("the command", (0, 0, 0), stated),
        cure="leave --voxel-size-nm out, or correct the file",
        axes=axes,
    )
    return found


def agreed_voxel_size(
    found: Mapping[str, VoxelSize | None],
    stated: VoxelSize | None,
    *,
    flat: bool = False,
    warn: Callable[[str], None] = lambda message: None,
) -> VoxelSize | None:
    """The voxel size that files or the command give; None where nobody knows.

    Args:
        found: Voxel size (z, y, x) in nm by where it was found, as messages name it.
        stated: By the command.
        flat: Of a single slice, whose thickness may differ.
        warn: Takes what is said of a file whose size is replaced; see `corrected_size`.

    Raises:
        VoxelSizeError: Two of them differ by more than 1 %, or the stated one is no likely voxel size.
    """
    sizes = {who: corrected_size(who, size, stated, flat=flat, warn=warn) for who, size in found.items()}
    known = [Geometry(who, (0, 0, 0), size) for who, size in sizes.items() if size is not None]
    for one in known[1:]:
        check_same_size(known[0], one, cure=CORRECT, axes=IN_PLANE if flat else ALL_AXES)
    return known[0].voxel_size_nm if known else stated


def placement_hint(whole: Geometry, part: Geometry) -> str:
    """What explains that a file has another shape than the whole, as a sentence to append; empty for nothing."""
    if order := _order_of_axes(whole.shape, part.shape):
        return f" Its axes seem to be in the order {order}; save it as z, y, x."
    shift = _shift(whole, part)
    if shift is None:
        return ""
    z, y, x = (round(voxels) for voxels in shift)
    box = Box((0, 0, 0), part.shape).shift((z, y, x))
    if not Box.of_shape(whole.shape).contains(box):
        return ""
    return f" By its origin it covers the box {box} of {whole.who}; crop that to this box, or pad the smaller one."


def _shift(first: Geometry, second: Geometry) -> VoxelSize | None:
    """How many voxels (z, y, x) after the first the second begins; None where it is not known."""
    size = first.voxel_size_nm or second.voxel_size_nm
    if size is None or first.origin_nm is None or second.origin_nm is None:
        return None
    z, y, x = ((b - a) / edge for a, b, edge in zip(first.origin_nm, second.origin_nm, size, strict=True))
    return z, y, x


def _order_of_axes(expected: Triple, found: Triple) -> str:
    """The one order in which `found` would have the expected axes, such as 'x, y, z'."""
    orders = [order for order in permutations(range(3)) if tuple(expected[axis] for axis in order) == found]
    return ", ".join("zyx"[axis] for axis in orders[0]) if len(orders) == 1 and expected != found else ""
