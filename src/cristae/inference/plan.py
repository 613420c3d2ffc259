"""The shape of the blocks: as large as the memory allows, because their halos are overhead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cristae.data.box import Box, Triple
from cristae.data.formats.cache import DECODED, LARGEST
from cristae.errors import RunError
from cristae.inference.arrays import ArrayModel
from cristae.inference.config import Runtime
from cristae.inference.disagreement import bytes_per_vox as disagreement_bytes
from cristae.inference.ensemble import Ensemble
from cristae.inference.fusion import Average, Fusion
from cristae.inference.memory import Budget
from cristae.inference.network_bytes import NetworkBytes
from cristae.inference.pipeline import AHEAD
from cristae.inference.predictor import Member
from cristae.preprocess.filtered_slices import bytes_of_slice, slices_at_once
from cristae.words import memory

Scale = tuple[float, float, float]
"""Voxels along one of another grid (z, y, x)."""
LARGEST_CORE = 4096 * 4096
"""Voxels of a block: beyond this the halo is cheap enough, and less is lost when a job is stopped."""
DEEP_CORE = 2048 * 2048
"""Slices are joined to blocks of up to this many voxels."""
PASS_VOX = {"cpu": 1 << 20, "mps": 1 << 20, "cuda": 1 << 22}
"""Small slices go through a network together, up to this many voxels."""
_STEP = 32
"""Sides of small blocks are multiples of it."""
SMALLEST_SIDES: dict[int, Triple] = {2: (1, 64, 64), 3: (16, 32, 32)}
"""Blocks are not cut any smaller, by the networks' axes: the halo would be most of the work."""
_MARGIN, _MARGIN_KEPT = 1.25, 2.5
"""Memory of a forward pass over that of its tensors, for workspaces and fragments; the second when the process keeps
large buffers for the next pass, whose sizes never quite fit."""
_MARGIN_KEPT_STREAMED: dict[int, float] = {2: 1.75, 3: 2.5}
"""The same of passes of a few rows, by the network's axes: rows of slices fit better, slabs of volumes do not."""
_FILTERING = 0.25
"""Part of the memory that slices may take that are filtered at the same time; one always may."""
_FIXED = 128 * 2**20
"""Bytes of the convolution library whatever the size of a pass."""
_FIXED_STREAMED = 32 * 2**20
"""The same of a pass of a few rows."""


@dataclass(frozen=True)
class BlockPlan:
    """How a prediction is cut up; frozen with the output, so that a continued job uses the same blocks."""

    block: Triple
    """Voxels (z, y, x) written at once: a shard of the output."""
    chunk: Triple
    """Voxels (z, y, x) of an inner chunk of the output."""
    pass_vox: int
    """Input voxels that go through a network at once."""
    keeps_buffers: bool = False
    """Whether large buffers stay with the process, see `Passes`."""
    filtered_at_once: int = 1
    """Slices that are filtered at the same time, where networks are shown filtered copies of them."""
    strip_vox: int = 0
    """Voxels that stream through a local network at a time; 0 for whole passes."""
    cache_bytes: int = LARGEST
    """What readers of image formats may keep."""
    memory_bytes: int = field(default=0, compare=False)
    """Main memory that the process is forecast to take, which varies, and so is not part of what is stored; 0 where it
    was not planned here."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = asdict(self)
        del values["memory_bytes"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BlockPlan:
        """From what `to_dict` gave, also after a trip through JSON."""
        kept, filtered = bool(values.get("keeps_buffers", False)), int(values.get("filtered_at_once", 1))
        block, chunk, strip = _triple(values["block"]), _triple(values["chunk"]), int(values.get("strip_vox", 0))
        cache = int(values.get("cache_bytes", LARGEST))
        return cls(block, chunk, int(values["pass_vox"]), kept, filtered, strip, cache)


@dataclass(frozen=True)
class Passes:
    """How networks are applied to a block."""

    strip_vox: int
    """Voxels that stream through local networks at a time; 0 for whole passes."""
    keeps_buffers: bool
    """Whether large buffers stay with the process, which is faster on CPUs and takes more memory."""
    slowdown: float
    """Time for each voxel, as measured, over that of the fastest way."""


WHOLE = Passes(0, keeps_buffers=False, slowdown=1.8)
"""The least memory without streaming."""
_STREAMED = tuple(
    Passes(1 << power, keeps, slowdown * (1.0 if keeps else WHOLE.slowdown))
    for keeps in (True, False)
    for power, slowdown in ((19, 1.0), (18, 1.1), (17, 1.15), (16, 1.2), (15, 1.4), (14, 1.8))
)
_PASSES: dict[str, tuple[Passes, ...]] = {
    "cpu": (*_STREAMED, WHOLE),
    # Accelerators are busy with large pieces only.
    **dict.fromkeys(("cuda", "mps"), (Passes(0, False, 1.0), Passes(1 << 20, False, 1.1), Passes(1 << 18, False, 1.5))),
}
_WHOLE_PASSES: dict[str, tuple[Passes, ...]] = {
    "cpu": (Passes(0, keeps_buffers=True, slowdown=1.0), WHOLE),
    **dict.fromkeys(("cuda", "mps"), (Passes(0, False, 1.0),)),
}


@dataclass(frozen=True)
class Workload:
    """What decides the memory of a block."""

    members: tuple[Member, ...]
    ensemble: Ensemble
    image_shape: Triple
    """Of the image that the networks read."""
    scale: Scale
    """Voxels that the networks read for one voxel of the output (z, y, x); 1 without resampling."""
    itemsize: int
    """Bytes of a grey value."""
    halves: bool
    """Whether the networks run in bfloat16."""
    keep_probabilities: bool
    chunk_depth: int = 1
    """Slices that the image's format decodes together; blocks of as many do not decode them again and again."""
    device: str = "cpu"
    fusion: Fusion = Average()
    """How the members are combined."""
    disagreement: bool = False
    """Whether a map of the members' disagreement is kept."""
    runtime: Runtime = "torch"
    """What computes the networks."""
    own_grids: tuple[tuple[Triple, Scale], ...] = ()
    """Of each member, where they work at voxel sizes of their own: shape of the image on its grid, and scale. Blocks
    then read, and members are fused, at the size of the output."""

    def grid_of(self, member: Member) -> tuple[Triple, Scale]:
        """Shape of the image that a member reads, and its voxels for one of the output."""
        return self.own_grids[self.members.index(member)] if self.own_grids else (self.image_shape, self.scale)

    def working_vox(self, member: Member, block: Triple) -> int:
        """Voxels of a member's grid that decide those of a block."""
        sides = zip(block, self.grid_of(member)[1], strict=True)
        return math.prod(math.ceil(side * scale) + 2 for side, scale in sides)

    @property
    def ndim(self) -> int:
        """Spatial axes of the networks."""
        return max(member.locality.ndim for member in self.members)

    @property
    def areas(self) -> int:
        """Areas that whole slices are filtered with, of all members together."""
        return len({area for member in self.members for area in member.network_input.areas_px})


def plan_memory(
    workload: Workload,
    region: Triple,
    budget: Budget,
    *,
    largest: Triple | None = None,
    passes: Sequence[Passes] | None = None,
) -> BlockPlan:
    """Choose the blocks and how networks are applied to them: what takes the least time, of what fits.

    Args:
        workload: Networks and image.
        region: Shape (z, y, x) of what is to be predicted.
        budget: Bytes that a block may use.
        largest: The block (z, y, x) that the recipe sets, which is taken when it fits.
        passes: Ways to choose from, the fastest first; None for those that suit the device.

    Raises:
        RunError: Not even the smallest block fits; says what would do.
    """
    if passes is None:
        streams = workload.runtime == "torch" and not workload.halves
        passes = (_PASSES if streams else _WHOLE_PASSES)[workload.device]
    network_bytes = [NetworkBytes(member, halves=workload.halves) for member in workload.members]
    best: tuple[float, BlockPlan] | None = None
    too_large: list[tuple[_Needs, Triple]] = []
    for one in passes:
        if best is not None and one.slowdown >= best[0]:
            continue
        needs = _Needs(workload, budget, one, network_bytes)
        block = _largest_that_fits(needs, region, budget) if largest is None else _at_most(region, largest)
        time = one.slowdown * needs.overhead(block)
        if not needs.fit(block, budget):
            too_large.append((needs, block))
        elif best is None or time < best[0]:
            best = time, replace(needs.plan(block), memory_bytes=budget.used + needs.main_memory(block))
    if best is None:
        needs, block = min(too_large, key=lambda pair: sum(pair[0].ram_and_device(pair[1])))
        raise needs.refusal(block, budget)
    return best[1]


def _largest_that_fits(needs: _Needs, region: Triple, budget: Budget) -> Triple:
    """A whole slice (2D) or the whole region (3D), cut along its longest axis until it fits; then slices are joined
    while they fit. The smallest block where none does."""
    parts = [region[0] if needs.workload.ndim == 2 else 1, 1, 1]
    block = _split(region, parts)
    while math.prod(block) > LARGEST_CORE or not needs.fit(block, budget):
        axis = needs.cheapest_cut(block)
        if axis is None:
            return block
        parts[axis] += 1
        block = _split(region, parts)
    while needs.workload.ndim == 2:
        deeper = (2 * block[0], block[1], block[2])
        largest_core = LARGEST_CORE if block[0] < needs.workload.chunk_depth else DEEP_CORE
        if block[0] >= min(region[0], 64) or math.prod(deeper) > largest_core or not needs.fit(deeper, budget):
            break
        block = deeper
    return block


def _at_most(region: Triple, largest: Triple) -> Triple:
    return _triple([min(size, limit) for size, limit in zip(region, largest, strict=True)])


def ram_of_plan(workload: Workload, plan: BlockPlan) -> int:
    """Bytes of main memory that a block of a plan takes."""
    network_bytes = [NetworkBytes(member, halves=workload.halves) for member in workload.members]
    passes = Passes(plan.strip_vox, plan.keeps_buffers, slowdown=1.0)
    return _Needs(workload, Budget(0, None), passes, network_bytes).main_memory(plan.block)


class _Needs:
    """Forecasts memory and work of blocks."""

    def __init__(
        self, workload: Workload, budget: Budget, passes: Passes, network_bytes: Sequence[NetworkBytes]
    ) -> None:
        self.workload = workload
        self._passes = passes
        self._network_bytes = network_bytes
        self._filtered_at_once = 1
        if workload.areas:
            room = int(_FILTERING * budget.ram)
            self._filtered_at_once = slices_at_once(workload.image_shape, workload.itemsize, workload.areas, room)

    def plan(self, block: Triple) -> BlockPlan:
        """The plan with a block that fits."""
        kept, strip = self._passes.keeps_buffers, self._passes.strip_vox
        cache = DECODED.limit_bytes
        return BlockPlan(block, _chunk(block), self.pass_vox(block), kept, self._filtered_at_once, strip, cache)

    def overhead(self, block: Triple) -> float:
        """Voxels that a network computes for each of a block inside a large volume."""

        def of(member: Member) -> float:
            scale = self.workload.grid_of(member)[1]
            core = math.prod(side * each for side, each in zip(block, scale, strict=True))
            return math.prod(_largest_input(self.workload, member, block)) / core

        return max(map(of, self.workload.members))

    def main_memory(self, block: Triple) -> int:
        """Bytes of main memory that a block takes."""
        ram, device = self.ram_and_device(block)
        return ram + (0 if self.workload.device == "cuda" else device)

    def pass_vox(self, block: Triple) -> int:
        """Input voxels of a forward pass: at least one slice of every exact 2D network."""
        exact = [one for one in self.workload.members if one.windows is None and one.locality.ndim == 2]
        slices = [math.prod(given[1:]) for one in exact for given in _network_inputs(self.workload, one, block)]
        return max([PASS_VOX[self.workload.device], *slices])

    def ram_and_device(self, block: Triple) -> tuple[int, int]:
        """Bytes in main memory for reading and writing, and bytes where the networks run."""
        workload, core = self.workload, math.prod(block)
        input_vox = max(math.prod(_largest_input(workload, member, block)) for member in workload.members)
        working = max(workload.working_vox(member, block) for member in workload.members)
        channels = workload.ensemble.channels
        written = (1 if workload.ensemble.classes.exclusive else channels) + (
            channels if workload.keep_probabilities else 0
        )
        written += workload.disagreement
        ram = input_vox * (1 + workload.areas) * workload.itemsize * (AHEAD + 2) + core * written * (AHEAD + 2)
        if workload.areas:
            each = bytes_of_slice(workload.image_shape, workload.itemsize, workload.areas)
            ram += self._filtered_at_once * each
        if workload.own_grids:
            # What is read at the output's size, for two blocks ahead, and a member's share of it as floating point.
            read = max(_read_vox(workload, member, block) for member in workload.members)
            ram += read * workload.itemsize * (AHEAD + 2) + 8 * (read + input_vox)
            working = max(working, core)
        if workload.own_grids or workload.scale != (1.0, 1.0, 1.0):
            ram += 12 * (channels + workload.disagreement) * (core + working)
        fused = self._maps() * 4 * channels * working + core * (12 + channels)
        fused += workload.fusion.bytes_per_vox(softmax=workload.ensemble.softmax) * working
        if any(member.windows is not None for member in workload.members):
            fused += 16 * working  # which window counts where
        if workload.disagreement:
            # The sums of members, the map itself, and all channels together with it.
            fused += (disagreement_bytes(channels) + 4 + 4 * (channels + 1)) * working
        pairs = zip(workload.members, self._network_bytes, strict=True)
        network = max(self._of_passes(member, one, block) for member, one in pairs)
        normalized = 12 + max(member.normalizer.bytes_per_vox for member in workload.members)
        normalized += 4 if any(len(member.variants) > 1 for member in workload.members) else 0
        return ram, normalized * (1 + workload.areas) * input_vox + fused + network

    def _maps(self) -> int:
        """Probability maps of a block that live at the same time: what a member gives, the sum over its variants, the
        sum over members, and what the parts of a block are put together to."""
        members = self.workload.members
        several = len(members) > 1, *(any(found) for found in zip(*map(_needs_sums, members), strict=True))
        return 1 + sum(several)

    def _of_passes(self, member: Member, network: NetworkBytes, block: Triple) -> int:
        """Bytes of a pass through a network."""
        kept, found = self._passes.keeps_buffers, []
        for given in _network_inputs(self.workload, member, block):
            streamed = network.streamed(given, self._passes.strip_vox)
            if streamed is not None:
                result = 4 * member.classes.n_logits * math.prod(given)
                margin = _MARGIN_KEPT_STREAMED[member.locality.ndim] if kept else _MARGIN
                found.append(_FIXED_STREAMED + int(margin * streamed) + result)
            else:
                margin = _MARGIN_KEPT if kept else _MARGIN
                found.append(_FIXED + int(margin * network.per_vox * self._at_once_of(member, given, block)))
        return max(found)

    def _at_once_of(self, member: Member, given: Triple, block: Triple) -> int:
        z, y, x = given
        if member.windows is not None:
            z, y, x = member.input_box_for(Box.of_shape(member.windows.size)).shape
            one = y * x if member.locality.ndim == 2 else z * y * x
            return max(1, self.pass_vox(block) // (z * y * x)) * one
        if member.locality.ndim == 3:
            return z * y * x
        return min(z, max(1, self.pass_vox(block) // (y * x))) * y * x

    def cheapest_cut(self, block: Triple) -> int | None:
        """The axis along which smaller blocks have the least halo overhead; None when no side may be smaller."""
        smallest = SMALLEST_SIDES[self.workload.ndim]
        axes = [axis for axis in range(3 - self.workload.ndim, 3) if block[axis] > smallest[axis]]
        members = self.workload.members
        inputs = [(_largest_input(self.workload, one, block), self.workload.grid_of(one)[1]) for one in members]

        def length(axis: int) -> float:
            halo = max(given[axis] - block[axis] * scale[axis] for given, scale in inputs)
            return block[axis] / (smallest[axis] + max(0.0, halo))

        return max(axes, key=length, default=None)

    def fit(self, block: Triple, budget: Budget) -> bool:
        """Whether the block stays within the budget."""
        ram, device = self.ram_and_device(block)
        return ram + device <= budget.ram if budget.device is None else ram <= budget.ram and device <= budget.device

    def refusal(self, block: Triple, budget: Budget) -> RunError:
        """What to say of a block that does not stay within the budget."""
        ram, device = self.ram_and_device(block)
        if budget.device is not None and device > budget.device:
            option, needed, given = "--max-vram", device * budget.per_gpu, budget.device * budget.per_gpu
        else:
            needed = budget.together(ram + (device if budget.device is None else 0))
            option, given = "--max-ram", budget.together(budget.ram)
        several = "" if budget.workers == 1 else f" in each of {budget.workers} workers, which"
        exact_3d = any(
            one.windows is None and one.locality.ndim == 3 and not isinstance(one.network, ArrayModel)
            for one in self.workload.members
        )
        return RunError(
            f"a block of {' x '.join(map(str, block))} voxels (z, y, x){several} needs {memory(needed)}, but only "
            f"{memory(max(0, given))} may be used; give at least {option} {math.ceil(needed / 2**20)}MiB"
            + (", or fewer workers" if several else "")
            + ("" if budget.stated else ", or close other programs")
            + ("; windows take less: set predict.windows in the run's recipe.yaml, to gaussian say" if exact_3d else "")
        )


def _needs_sums(member: Member) -> tuple[bool, bool]:
    """Whether a member has several variants, and whether it predicts parts of blocks."""
    return len(member.variants) > 1, bool(member.held_out)


def _largest_input(workload: Workload, member: Member, block: Triple) -> Triple:
    """Shape of what a member needs of the image for a block, wherever that lies, for all its variants together."""
    straight, *turned = _network_inputs(workload, member, block)
    sides = [max(pair) for pair in zip(straight, _exchanged(turned[0]) if turned else straight, strict=True)]
    if len(member.variants) > 1:  # mirrored, it starts at other multiples of the stride
        sides = [side + stride - 1 for side, stride in zip(sides, _widest_stride(member), strict=True)]
    if member.windows is None and any(other.held_out for other in workload.members):
        # Blocks have parts, whose inputs may end behind that of the block where small ones are not taken.
        sides = [side + member.locality.good_side(axis, 0) for axis, side in enumerate(sides)]
    return _triple(sides)


def _read_vox(workload: Workload, member: Member, block: Triple) -> int:
    """Voxels of the output's size that what a member needs for a block follows from."""
    scale = workload.grid_of(member)[1]
    sides = zip(_largest_input(workload, member, block), scale, strict=True)
    return math.prod(math.ceil(side / each) + 2 for side, each in sides)


def _widest_stride(member: Member) -> Triple:
    if member.windows is not None:
        return 1, 1, 1  # all windows that a block meets are counted anyway
    z, y, x = member.locality.stride
    return (z, max(y, x), max(y, x)) if any(variant.exchanged for variant in member.variants) else (z, y, x)


def _network_inputs(workload: Workload, member: Member, block: Triple) -> list[Triple]:
    """Shapes of the largest input of a member's network for a block: of the image as it is, and with y and x exchanged
    where the member predicts such variants."""
    whole, scale = workload.grid_of(member)
    sides = [_network_input(member, block, whole, scale)]
    if any(variant.exchanged for variant in member.variants):
        (z, y, x), shape = scale, _exchanged(whole)
        sides.append(_network_input(member, _exchanged(block), shape, (z, x, y)))
    return sides


def _network_input(member: Member, block: Triple, shape: Triple, scale: tuple[float, float, float]) -> Triple:
    """Shape of the largest input of a member for a block, wherever that lies in an image of this shape."""
    around = member.input_box_for(Box.of_shape((0, 0, 0)))
    sides = []
    for axis in range(3):
        where = member.locality
        core = math.ceil(block[axis] * scale[axis]) + (0 if scale[axis] == 1 else 2)
        if member.windows is not None:
            side = core + 2 * (member.windows.size[axis] - 1)
        else:
            halo = max(0, where.reach[axis] - where.margin[axis])
            side = where.good_side(axis, core + 2 * halo + where.stride[axis] - 1)
            side = min(side, where.good_side(axis, shape[axis]))
        sides.append(side + around.stop[axis] - around.start[axis] + 2 * member.normalizer.reach[axis])
    return _triple(sides)


def _exchanged(sides: Triple) -> Triple:
    z, y, x = sides
    return z, x, y


def _split(region: Triple, parts: Sequence[int]) -> Triple:
    """The block that cuts each axis into about that many equal parts, on sides that chunks divide."""
    sides = []
    for axis, (size, count) in enumerate(zip(region, parts, strict=True)):
        side = -(-size // count)
        step = 1 if axis == 0 else 256 if side > 512 else _STEP if count > 1 else 1
        sides.append(-(-side // step) * step)
    return _triple(sides)


def _chunk(block: Triple) -> Triple:
    return min(16, block[0] & -block[0]), _chunk_side(block[1]), _chunk_side(block[2])


def _chunk_side(side: int) -> int:
    return next((chunk for chunk in (256, 128) if side > 512 and side % chunk == 0), side)


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
