"""Blocks follow the memory, not the volume."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import Lagging, Pyramidal, Solid, Valid, member, member_of
from torch import nn

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import RunError
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.locality import Locality, measure_locality
from cristae.inference.memory import Budget, find_budget, forward_bytes, measured_bytes, parse_size
from cristae.inference.plan import (
    LARGEST_CORE,
    WHOLE,
    BlockPlan,
    Workload,
    _largest_input,
    _network_inputs,
    plan_memory,
)
from cristae.inference.predictor import Member, Predictor
from cristae.inference.windows import Windows
from cristae.models import UNetBNConfig
from cristae.preprocess.normalize import Normalizer

BINARY = Classes(names=("background", "a"))
GIB = 2**30


def workload(shape, *, network=None, reach=20, stride=16, classes=BINARY, members=1, **more):
    network = network or nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes.n_logits, 1))
    locality = Locality(True, "", (0, reach, reach), (1, stride, stride), 2)
    everyone = (Member(network, locality, Normalizer(0, 1), classes),) * members
    options = {"scale": (1.0, 1.0, 1.0), "itemsize": 1, "halves": False, "keep_probabilities": False} | more
    return Workload(everyone, plan_ensemble([one.classes for one in everyone]), shape, **options)


def test_forward_bytes_by_hand():
    """A 1-channel input and its 8-channel convolution live at once: 4 and 32 bytes for each voxel."""
    assert forward_bytes(nn.Conv2d(1, 8, 3, padding=1), (1, 1, 64, 32)) == 64 * 32 * 36
    # Input, first result and second result; in-place ReLU costs nothing; half precision halves all.
    chain = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1))
    assert forward_bytes(chain, (2, 1, 10, 10)) == 2 * 100 * (4 + 32 + 8)
    assert forward_bytes(chain, (2, 1, 10, 10), halves=True) == 100 * (4 + 32 + 8)


def test_forward_bytes_grow_with_the_input_and_leave_the_network_alone():
    network = UNetBNConfig(widths=(4, 8, 16)).build(1, 1)
    one, four = (forward_bytes(network, (1, 1, side, side)) for side in (64, 128))
    assert four == pytest.approx(4 * one, rel=1e-3)
    assert next(network.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * GIB), ("500MB", 500 * 10**6), ("2G", 2 * 10**9), ("1.5 GiB", 3 * GIB // 2), ("4096", 4096), (7, 7)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "8 apples", "-1GiB", "0", "GiB", "1e9"])
def test_what_is_not_a_size(text):
    with pytest.raises(RunError, match="is not a memory size"):
        parse_size(text)


def test_whole_slices_when_there_is_room():
    plan = plan_memory(workload((100, 2048, 2048)), (100, 2048, 2048), Budget(8 * GIB, None))
    assert plan.block == (1, 2048, 2048)
    assert plan_memory(workload((100, 256, 256)), (100, 256, 256), Budget(8 * GIB, None)).block == (64, 256, 256)


def test_slices_that_are_decoded_together_are_predicted_together():
    shape = (100, 1024, 2048)
    assert plan_memory(workload(shape, chunk_depth=16), shape, Budget(8 * GIB, None)).block == (8, 1024, 2048)
    assert plan_memory(workload(shape, chunk_depth=4), shape, Budget(8 * GIB, None)).block == (4, 1024, 2048)
    assert plan_memory(workload(shape), shape, Budget(8 * GIB, None)).block == (2, 1024, 2048)


def test_the_plan_does_not_depend_on_how_large_the_volume_is():
    network = UNetBNConfig().build(1, 1)
    budget = Budget(GIB // 2, None)
    shapes = [(16, 4096, 4096), (1000, 65536, 65536)]
    for passes in (None, (WHOLE,)):
        plans = [
            plan_memory(workload(shape, network=network, reach=107), shape, budget, passes=passes) for shape in shapes
        ]
        areas = [math.prod(plan.block) for plan in plans]
        assert max(areas) < 1.1 * min(areas)
    assert max(areas) < 1500**2


def test_networks_that_stream_take_little_memory():
    """Whole slices in a quarter of the memory, or slabs of a volume without a halo along z."""
    shape, network = (4, 2048, 2048), UNetBNConfig().build(1, 1)
    one = workload(shape, network=network, reach=107)
    streamed, whole = (plan_memory(one, shape, Budget(3 * GIB // 4, None), passes=how) for how in (None, (WHOLE,)))
    assert streamed.block == (1, 2048, 2048)
    assert 0 < streamed.strip_vox < 2048**2
    assert streamed.keeps_buffers
    assert math.prod(whole.block[1:]) < 2048**2 / 4
    assert plan_memory(one, shape, Budget(64 * GIB, None)).strip_vox == 1 << 19
    assert BlockPlan.from_dict(streamed.to_dict()) == streamed
    shape = (256, 1000, 1000)
    streamed, whole = (
        plan_memory(solid_workload(shape), shape, Budget(2 * GIB, None), passes=how) for how in (None, (WHOLE,))
    )
    assert math.prod(streamed.block) > 3 * math.prod(whole.block)


def test_networks_that_cannot_stream_pass_as_a_whole():
    class Turned(nn.Module):
        """Local, with a function that is not known row by row."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 8, 3, padding=1)

        def forward(self, image):
            return self.layer(image).transpose(2, 3).transpose(2, 3).mean(1, keepdim=True)

    shape = (4, 2048, 2048)
    plain = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 1))
    sizes = [
        math.prod(plan_memory(workload(shape, network=one), shape, Budget(GIB // 5, None)).block)
        for one in (Turned(), plain)
    ]
    assert sizes[0] < sizes[1] / 2


def test_bf16_passes_as_a_whole():
    shape = (4, 2048, 2048)
    assert plan_memory(workload(shape, halves=True), shape, Budget(8 * GIB, None)).strip_vox == 0


@pytest.mark.slow
def test_too_little_memory_says_how_much_would_do():
    network = UNetBNConfig().build(1, 1)
    shape = (4, 3000, 3000)
    with pytest.raises(RunError, match=r"give at least --max-ram (\d+)MiB") as caught:
        plan_memory(workload(shape, network=network, reach=107), shape, Budget(10 * 2**20, None, used=300 * 2**20))
    needed = int(str(caught.value).split("--max-ram ")[1].split("MiB")[0])
    one = workload(shape, network=network, reach=107)
    plan = plan_memory(one, shape, Budget((needed - 300) * 2**20, None, used=300 * 2**20))
    assert max(plan.block[1:]) <= 128
    with pytest.raises(RunError, match=f"--max-ram {needed}MiB"):
        plan_memory(one, shape, Budget((needed - 302) * 2**20, None, used=300 * 2**20))
    with pytest.raises(RunError, match="--max-vram"):
        plan_memory(workload(shape, network=network), shape, Budget(GIB, 2**20))


def test_classes_and_members_take_memory():
    shape = (4, 4000, 4000)
    many = Classes(names=tuple(f"c{i}" for i in range(200)))
    few = plan_memory(workload(shape), shape, Budget(GIB, None))
    more = plan_memory(workload(shape, classes=many, members=3), shape, Budget(GIB, None))
    assert math.prod(more.block) < math.prod(few.block) / 4


def test_the_block_of_the_recipe():
    shape = (10, 500, 400)
    plan = plan_memory(workload(shape), shape, Budget(GIB, None), largest=(3, 100, 1000))
    assert plan.block == (3, 100, 400)
    with pytest.raises(RunError, match="3 x 100 x 400"):
        plan_memory(workload(shape), shape, Budget(2**20, None), largest=(3, 100, 1000))


def test_ceilings_count_the_whole_process():
    budget = find_budget(torch.device("cpu"), max_ram="4GiB")
    assert budget.ram + budget.used == 4 * GIB
    assert budget.stated
    assert not find_budget(torch.device("cpu")).stated


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 9000), st.integers(1, 9000)),
    ram=st.integers(200 * 2**20, 16 * GIB),
    scale=st.sampled_from([(1.0, 1.0, 1.0), (1.0, 0.4, 0.4), (1.0, 1.7, 1.7)]),
)
def test_plans_are_usable(shape, ram, scale):
    working = tuple(math.ceil(side * factor) for side, factor in zip(shape, scale, strict=True))
    plan = plan_memory(workload(working, scale=scale), shape, Budget(ram, None))
    assert all(block % chunk == 0 for block, chunk in zip(plan.block, plan.chunk, strict=True))
    assert math.prod(plan.block) <= 4352 * 4096
    assert BlockPlan.from_dict(plan.to_dict()) == plan


def solid_workload(shape, *, network=None, windows=None, local=True, reach=(6, 30, 30), **more):
    """A 3D network."""
    network = network or nn.Sequential(nn.Conv3d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv3d(16, 1, 1))
    locality = Locality(local, "", reach, (1, 8, 8), 3)
    member = Member(network, locality, Normalizer(0, 1), BINARY, 1, windows)
    options = {"scale": (1.0, 1.0, 1.0), "itemsize": 1, "halves": False, "keep_probabilities": False} | more
    return Workload((member,), plan_ensemble([BINARY]), shape, **options)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 500), st.integers(1, 3000), st.integers(1, 3000)),
    ram=st.integers(600 * 2**20, 16 * GIB),
    scale=st.sampled_from([(1.0, 1.0, 1.0), (0.5, 1.7, 1.7)]),
    windows=st.sampled_from([None, Windows("gaussian", (16, 64, 64), 3), Windows("farthest", (5, 96, 96), 3)]),
)
def test_3d_plans_are_usable(shape, ram, scale, windows):
    working = tuple(math.ceil(side * factor) for side, factor in zip(shape, scale, strict=True))
    plan = plan_memory(solid_workload(working, windows=windows, scale=scale), shape, Budget(ram, None))
    assert all(block % chunk == 0 for block, chunk in zip(plan.block, plan.chunk, strict=True))
    assert math.prod(plan.block) <= LARGEST_CORE * 1.3


def test_more_memory_gives_larger_3d_blocks_whatever_the_volume():
    shape = (1000, 8000, 8000)
    areas = [
        math.prod(plan_memory(solid_workload(shape), shape, Budget(n * GIB, None), passes=(WHOLE,)).block)
        for n in (1, 2, 8)
    ]
    assert areas[0] < areas[1] < areas[2]
    other = (300, 30000, 2000)
    assert math.prod(
        plan_memory(solid_workload(other), other, Budget(2 * GIB, None), passes=(WHOLE,)).block
    ) == pytest.approx(areas[1], rel=0.3)


def test_axes_with_a_short_reach_are_cut_first():
    """Half as many slices with a halo of 2 are cheaper than slices of half the size with a halo of 60."""
    shape = (256, 256, 256)
    block = plan_memory(solid_workload(shape, reach=(1, 60, 60)), shape, Budget(2 * GIB, None), passes=(WHOLE,)).block
    assert block[0] < block[1]


def test_windows_bound_the_memory_of_a_network_that_sees_far():
    """One window goes through the network at a time, so that blocks need not be small."""
    shape = (64, 2000, 2000)
    windows = Windows("gaussian", (16, 64, 64), 3)
    budget = Budget(int(0.7 * GIB), None)
    wide = plan_memory(solid_workload(shape, windows=windows, local=False), shape, budget, passes=(WHOLE,))
    narrow = plan_memory(solid_workload(shape), shape, budget, passes=(WHOLE,))
    assert math.prod(wide.block) > 3 * math.prod(narrow.block)


def test_exact_3d_blocks_that_do_not_fit_point_to_windows():
    with pytest.raises(RunError, match=r"--max-ram \d+MiB.*windows take less: set predict\.windows"):
        plan_memory(solid_workload((64, 600, 600)), (64, 600, 600), Budget(20 * 2**20, None))


class Unknown(nn.Module):
    """Looks at values, and so does not run on shapes alone."""

    def forward(self, image):
        return image * float(image.max())


class Broken(nn.Module):
    """Fails whatever it gets."""

    def forward(self, image):
        raise RuntimeError


def test_a_real_pass_is_measured_like_one_on_shapes():
    network = UNetBNConfig(widths=(4, 8)).build(1, 1).eval()
    assert measured_bytes(network, (1, 1, 64, 64)) == pytest.approx(forward_bytes(network, (1, 1, 64, 64)), rel=0.01)


def test_a_network_that_does_not_run_on_shapes_is_measured_with_values():
    shape = (1, 4096, 4096)
    budget = Budget(2 * GIB, None)
    known, looking, broken = (
        plan_memory(workload(shape, network=one), shape, budget) for one in (None, Unknown(), Broken())
    )
    assert math.prod(broken.block) < math.prod(known.block) <= math.prod(looking.block)
    assert not measure_locality(Unknown(), UNetBNConfig()).local


@pytest.mark.parametrize("test_time", ["flips_z", "dihedral_z"])
def test_no_input_of_a_mirrored_or_turned_copy_is_larger_than_the_forecast(test_time):
    """What is read for all copies together, and what goes through the network for each."""
    for one in (
        member(Pyramidal(), stride=4),
        member_of(Valid(), Valid.config),
        member_of(Lagging(), Lagging.config),
        member_of(Solid(), Solid.config),
        member_of(Valid(), Valid.config, windows=Windows("farthest", (1, 12, 20), 2)),
    ):
        one, shape, block = replace(one, test_time=test_time), (9, 61, 50), (4, 17, 8)
        work = replace(solid_workload(shape), members=(one,))
        forecast, networks = _largest_input(work, one, block), _network_inputs(work, one, block)
        predictor = Predictor([one])
        assert len(networks) == (2 if test_time == "dihedral_z" else 1)
        for core in Box.of_shape(shape).blocks(block):
            read = predictor.input_box(core, shape).shape
            assert all(a <= b for a, b in zip(read, forecast, strict=True)), (read, forecast)
            for variant in one.variants:
                output = one.output_box(variant.box(core, shape), variant.shape(shape))
                given = one.input_box_for(output).shape
                assert all(a <= b for a, b in zip(given, networks[variant.exchanged], strict=True)), (given, networks)


def test_the_plan_accounts_for_copies_and_disagreement(pyramidal):
    """Sums over copies and members, and what disagreement is made of, leave less room for a block."""
    shape, budget = (1, 8000, 8000), Budget(2**30, None)

    def block(*members, **more):
        options = {"scale": (1.0, 1.0, 1.0), "itemsize": 1, "halves": False, "keep_probabilities": False}
        ensemble = plan_ensemble([one.classes for one in members])
        return math.prod(
            plan_memory(Workload(members, ensemble, shape, **options, **more), shape, budget, passes=(WHOLE,)).block
        )

    one = pyramidal()
    plain = block(one, one)
    assert block(replace(one, test_time="flips"), one) < plain
    assert block(one, one, disagreement=True) < plain
    assert block(replace(one, held_out=(Box.of_shape(shape),)), one) < plain


def test_no_input_is_larger_than_the_forecast():
    """For blocks anywhere, with a margin, strides and windows."""
    for one in (
        member_of(Valid(), Valid.config),
        member_of(Lagging(), Lagging.config),
        member_of(Solid(), Solid.config),
        member_of(Valid(), Valid.config, windows=Windows("farthest", (1, 12, 20), 2)),
    ):
        shape, block = (9, 61, 50), (4, 17, 8)
        forecast = _largest_input(replace(solid_workload(shape), members=(one,)), one, block)
        for core in Box.of_shape(shape).blocks(block):
            found = one.input_box_for(one.output_box(core, shape)).shape
            assert all(a <= b for a, b in zip(found, forecast, strict=True)), (found, forecast)
