"""Where the voxels of files lie, and whether two files of one volume agree on it.

Two voxel sizes are the same within 1 % on each axis, two origins within half a voxel. What a file does not say agrees
with everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from cristae.data.box import Box, Triple
from cristae.data.image import Image, VoxelSize, moved_origin, same_voxel_size, voxel_size_text
from cristae.data.unit_slips import check_typed_size, slip_between, unit_slip
from cristae.errors import VolumeError, VoxelSizeError
from cristae.progress import Progress

ALL_AXES, IN_PLANE = (0, 1, 2), (1, 2)
"""Axes that are compared; of a single slice the thickness is not."""
CORRECT = (
    "files of one volume have one voxel size: correct the file that is wrong (--voxel-size-nm does not replace a "
    "likely size that a file states)"
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
        size = voxel_size_nm or image.voxel_size_nm
        return cls(f"{what} {image.path}".strip(), image.shape, size, image.origin_nm, image.orientation)

    def crop(self, box: Box) -> Geometry:
        """Of the voxels inside `box`; an unknown origin stays unknown."""
        origin = None if self.origin_nm is None else moved_origin(self.origin_nm, box.start, self.voxel_size_nm)
        return replace(self, shape=box.shape, origin_nm=origin)


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


def corrected_size(one: Geometry, stated: VoxelSize | None, progress: Progress = Progress()) -> VoxelSize | None:
    """The voxel size of one file: what it says, or what the command states where the file says nothing likely.

    Args:
        one: The file.
        stated: (z, y, x) in nm, by the command.
        progress: Takes a warning where the file's size is replaced, which is none of an electron microscope.

    Raises:
        VoxelSizeError: The two differ otherwise, or the stated one is no likely voxel size.
    """
    found, flat = one.voxel_size_nm, one.shape[0] == 1
    if stated is None:
        return found
    check_typed_size(stated, flat=flat)
    if found is None:
        return stated
    if unit_slip(found, flat=flat) is None:
        cure = "leave --voxel-size-nm out, or correct the file"
        told = replace(one, who="the command", voxel_size_nm=stated)
        check_same_size(one, told, cure=cure, axes=IN_PLANE if flat else ALL_AXES)
        return found
    progress.warn(
        f"{one.who} says {voxel_size_text(found)} (z, y, x), which is no likely voxel size; "
        f"{voxel_size_text(stated)} is taken, as the command says"
    )
    return stated


def common_size(files: Sequence[Geometry], stated: VoxelSize | None, progress: Progress) -> VoxelSize | None:
    """The voxel size of several files that show the same voxels; None where nobody knows it.

    Args:
        files: Cropped to the same voxels.
        stated: (z, y, x) in nm, by the command.
        progress: Takes warnings: of origins that differ, of a size that is no likely one, or that the command corrects.

    Raises:
        VoxelSizeError: Two of the sizes differ by more than 1 %, or the stated one is no likely voxel size.
        VolumeError: One file is turned against another.
    """
    sizes = [corrected_size(one, stated, progress) for one in files]
    # The origin of a file whose unit slipped has the same slip.
    placed = [
        replace(one, voxel_size_nm=size, origin_nm=one.origin_nm if size == one.voxel_size_nm else None)
        for one, size in zip(files, sizes, strict=True)
    ]
    known = next((one for one in placed if one.voxel_size_nm is not None), placed[0])
    for one in placed:
        axes = IN_PLANE if one.shape[0] == 1 else ALL_AXES
        for warning in check_same_place(known, one, cure=_cure(known, one), axes=axes):
            progress.warn(warning)
    slip = None if known.voxel_size_nm is None else unit_slip(known.voxel_size_nm, flat=known.shape[0] == 1)
    if slip is not None:
        progress.warn(
            f"{known.who} says {voxel_size_text(known.voxel_size_nm)} (z, y, x), which is no likely voxel size: "
            f"{slip}. Give the right one with --voxel-size-nm"
        )
    return known.voxel_size_nm


def _cure(first: Geometry, second: Geometry) -> str:
    """What to do where two voxel sizes differ: the command may replace one that no electron microscope has."""
    for right, wrong in ((first, second), (second, first)):
        likely = right.voxel_size_nm is not None and unit_slip(right.voxel_size_nm, flat=right.shape[0] == 1) is None
        if likely and wrong.voxel_size_nm and unit_slip(wrong.voxel_size_nm, flat=wrong.shape[0] == 1):
            size = " ".join(f"{edge:g}" for edge in right.voxel_size_nm or ())
            return f"if {right.who} is right, give --voxel-size-nm {size}"
    return CORRECT


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
    return (
        f"\n  By its origin it covers the box {box} (z, y, x; from 0, ends not included) of {whole.who}; crop that "
        "image to this box, or pad the other with a value that means 'unlabelled'."
    )


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
