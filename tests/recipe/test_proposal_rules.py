"""Each rule of a proposal on facts that are made up: what it chooses, and the measured fact in its reason."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cristae.augment import Augmentations
from cristae.errors import RecipeError
from cristae.losses import Loss
from cristae.models import Network
from cristae.preprocess import Normalize
from cristae.recipe.proposal.augmentation import choose_augmentation
from cristae.recipe.proposal.batch import choose_batch
from cristae.recipe.proposal.dimensions import choose_dimensions
from cristae.recipe.proposal.draft import choose_draft
from cristae.recipe.proposal.facts import ClassFacts, DataFacts, Machine, Measured
from cristae.recipe.proposal.length import HEADROOM, plan_length
from cristae.recipe.proposal.lines import method_lines
from cristae.recipe.proposal.loss import choose_loss, percent
from cristae.recipe.proposal.network import choose_network, with_width
from cristae.recipe.proposal.normalization import choose_normalization
from cristae.recipe.proposal.options import ProposalOptions
from cristae.recipe.proposal.patch import choose_patch
from cristae.recipe.proposal.propose import propose
from cristae.recipe.proposal.rates import choose_rates
from cristae.recipe.proposal.sampling import choose_sampling
from cristae.recipe.proposal.working_grid import coarser_grid, common_grid

LAPTOP = Machine("cpu", 4, 8 * 2**30)
GPU = Machine("cuda", 16, 100 * 2**30)
MITO = ClassFacts("mito", 0.062, width_vox=20.0, size_vox=60.0, depth_slices=5.0)
MEMBRANE = ClassFacts("membrane", 0.23, width_vox=7.0, size_vox=280.0, depth_slices=1.8)
SBEM = DataFacts(
    stacked=True,
    slices=13,
    consecutive=13,
    sides=(1024, 1024),
    classes=(MITO,),
    voxel_size_nm=(40, 6, 6),
    likeness=0.72,
    drift=0.02,
)
CUBES = replace(SBEM, slices=140, consecutive=140, sides=(250, 250), voxel_size_nm=(10, 10, 10), likeness=0.97)


@pytest.mark.parametrize(
    ("changes", "machine", "minutes", "chosen", "fact"),
    [
        ({"stacked": False}, GPU, 600, "2D", "no neighbouring slices"),
        ({"likeness": 0.34}, GPU, 600, "2D", "correlate by 0.34"),
        ({"likeness": None}, GPU, 600, "2D", "no neighbouring slices were compared"),
        ({"classes": (MEMBRANE,)}, GPU, 600, "2D", "span only 1.8 slices"),
        ({}, GPU, 600, "2.5D", "correlate by 0.72"),
        ({}, GPU, 600, "2.5D", "6.7 times as long"),
        ({"voxel_size_nm": None}, GPU, 600, "2.5D", "the voxel size, which is not known"),
        ({"voxel_size_nm": (10, 10, 10)}, GPU, 600, "2.5D", "too few labelled slices follow each other (13)"),
        ({"voxel_size_nm": (10, 10, 10), "consecutive": 16}, GPU, 30, "3D", "16 labelled slices follow each other"),
        ({"voxel_size_nm": (10, 10, 10), "consecutive": 16}, LAPTOP, 239, "2.5D", "takes a GPU or hours"),
        ({"voxel_size_nm": (10, 10, 10), "consecutive": 16}, LAPTOP, 240, "3D", "voxels are cubes"),
        ({"voxel_size_nm": (30, 10, 10), "consecutive": 16}, GPU, 30, "3D", "3.0 times as long"),
        ({"voxel_size_nm": (31, 10, 10), "consecutive": 16}, GPU, 30, "2.5D", "3.1 times as long"),
    ],
)
def test_dimensions(changes: dict[str, object], machine: Machine, minutes: float, chosen: str, fact: str) -> None:
    found = choose_dimensions(replace(SBEM, **changes), machine, minutes)  # type: ignore[arg-type]
    assert found.value == chosen
    assert fact in found.reason


@pytest.mark.parametrize(
    ("sides", "size_vox", "machine", "patch"),
    [
        ((1024, 1024), 60.0, LAPTOP, (256, 256)),
        ((1024, 1024), 170.0, LAPTOP, (256, 256)),
        ((1024, 1024), 190.0, GPU, (288, 288)),
        ((1024, 1024), 400.0, LAPTOP, (256, 256)),
        ((1024, 1024), 400.0, GPU, (512, 512)),
        ((250, 250), 60.0, LAPTOP, (240, 240)),
        ((130, 800), 60.0, LAPTOP, (128, 128)),
        ((20, 20), 60.0, LAPTOP, (32, 32)),
    ],
)
def test_patches_cover_objects_and_fit_into_regions(
    sides: tuple[int, int], size_vox: float, machine: Machine, patch: tuple[int, int]
) -> None:
    facts = replace(SBEM, sides=sides, classes=(replace(MITO, size_vox=size_vox),))
    assert choose_patch(facts, "2D", machine).value == patch


def test_the_length_of_thin_objects_does_not_decide_the_patch() -> None:
    assert MEMBRANE.thin
    assert not MITO.thin
    assert choose_patch(replace(SBEM, classes=(MEMBRANE,)), "2D", LAPTOP).value == (256, 256)


@pytest.mark.parametrize(
    ("voxel_size", "consecutive", "box"),
    [((10, 10, 10), 140, (96, 96, 96)), ((30, 10, 10), 140, (32, 96, 96)), ((10, 10, 10), 20, (16, 96, 96))],
)
def test_boxes_are_as_deep_as_wide_where_labels_are(
    voxel_size: tuple[float, float, float], consecutive: int, box: tuple[int, int, int]
) -> None:
    facts = replace(CUBES, voxel_size_nm=voxel_size, consecutive=consecutive)
    assert choose_patch(facts, "3D", GPU).value == box


@pytest.mark.parametrize(
    ("size", "machine", "batch"),
    [
        ((256, 256), LAPTOP, 4),
        ((128, 128), LAPTOP, 16),
        ((64, 64), LAPTOP, 16),
        ((320, 320), LAPTOP, 4),
        ((256, 256), GPU, 16),
        ((256, 256), replace(LAPTOP, memory_bytes=2**30), 2),
        ((96, 96, 96), GPU, 2),
    ],
)
def test_batches_hold_a_quarter_of_a_million_voxels_or_what_fits(
    size: tuple[int, ...], machine: Machine, batch: int
) -> None:
    found = choose_batch(size, machine)
    assert found.value == batch
    assert ("1.0 GiB" in found.reason) == (machine.memory_bytes == 2**30)


@pytest.mark.parametrize(
    ("shares", "share", "fact"),
    [
        ([0.23], 0, "23 %"),
        ([0.062], 0.33, "c0 has 6.2 % of the labelled training voxels"),
        ([0.3, 0.01], 0.67, "c1, the rarest class, has 1 %"),
        ([0.3, 0.001], 0.67, "c1, the rarest class, has 0.1 %"),
    ],
)
def test_rare_classes_are_sampled_more(shares: list[float], share: float, fact: str) -> None:
    facts = replace(SBEM, classes=tuple(ClassFacts(f"c{i}", one) for i, one in enumerate(shares)))
    found = choose_sampling(facts)
    assert found.value == {"name": "random", "foreground_share": share}
    assert fact in found.reason


def test_a_part_of_large_data_is_said_to_be_one() -> None:
    assert "of the labelled training voxels looked at" in choose_sampling(replace(SBEM, complete=False)).reason


def test_a_class_that_was_not_seen_is_none_that_is_rare() -> None:
    facts = replace(SBEM, classes=(MITO, ClassFacts("unseen", 0.0)))
    assert "unseen" not in choose_sampling(facts).reason


@pytest.mark.parametrize(
    ("classes", "background", "name", "fact"),
    [
        ((MITO,), True, "cross_entropy_dice", "6.2 %"),
        ((MEMBRANE,), True, "cross_entropy_dice", "lines about 7 voxels wide"),
        ((replace(MITO, share=0.004),), True, "sum", "0.4 %"),
        ((MITO, ClassFacts("er", 0.004)), True, "cross_entropy_dice", "er has 0.4 %"),
        ((), True, "cross_entropy_dice", "everyday"),
    ],
)
def test_losses(classes: tuple[ClassFacts, ...], background: bool, name: str, fact: str) -> None:
    found = choose_loss(replace(SBEM, classes=classes, background=background))
    assert found.value["name"] == name
    assert fact in found.reason
    TypeAdapter(Loss).validate_python(found.value)


def test_the_loss_of_a_rare_class_misses_dearly() -> None:
    cross, tversky = choose_loss(replace(SBEM, classes=(ClassFacts("synapse", 0.005),))).value["terms"]
    assert cross == {"name": "binary_cross_entropy"}
    assert tversky["false_negatives"] > tversky["false_positives"]


@pytest.mark.parametrize(("share", "text"), [(0.0617, "6.2 %"), (0.00018, "0.018 %"), (0.234, "23 %"), (1.0, "100 %")])
def test_shares_have_the_digits_that_matter(share: float, text: str) -> None:
    assert percent(share) == text


def test_only_boxes_are_mirrored_along_z_and_only_square_voxels_turned() -> None:
    assert choose_augmentation(CUBES, "3D").value[0] == {"name": "flip", "axes": ["z", "y", "x"]}
    assert choose_augmentation(CUBES, "2.5D").value[0] == {"name": "flip", "axes": ["y", "x"]}
    turned = [part["name"] for part in choose_augmentation(SBEM, "2D").value]
    flat = [part["name"] for part in choose_augmentation(replace(SBEM, voxel_size_nm=(40, 6, 8)), "2D").value]
    assert ("rotate90" in turned, "rotate90" in flat) == (True, False)
    TypeAdapter(Augmentations).validate_python(choose_augmentation(SBEM, "2D").value)
    assert "only 3 labelled slices" in choose_augmentation(replace(SBEM, slices=3), "2D").reason


def test_grey_values_are_those_of_a_slice_unless_boxes_are_recorded_alike() -> None:
    assert choose_normalization(SBEM, "2D").value == {"name": "z_score", "scope": "slice"}
    assert choose_normalization(SBEM, "3D").value == {"name": "z_score", "scope": "volume"}
    assert choose_normalization(replace(SBEM, drift=0.28), "3D").value["scope"] == "slice"
    assert "0.28 of a slice's standard deviation" in choose_normalization(replace(SBEM, drift=0.28), "2D").reason
    TypeAdapter(Normalize).validate_python(choose_normalization(SBEM, "3D").value)


@pytest.mark.parametrize("facts", [SBEM, CUBES, replace(SBEM, stacked=False)])
@pytest.mark.parametrize("width", [8, 16])
def test_networks_are_valid(facts: DataFacts, width: int) -> None:
    dimensions = choose_dimensions(facts, GPU, 60)
    size = choose_patch(facts, dimensions.value, GPU).value
    model = with_width(choose_network(facts, dimensions, size).value, width)
    network = TypeAdapter(Network).validate_python(model)
    assert network.ndim == len(size) == (3 if dimensions.value == "3D" else 2)
    assert network.in_slices == (3 if dimensions.value == "2.5D" else 1)


def test_the_learning_rate_follows_the_length() -> None:
    assert choose_rates(1000, batch_norm=True, batch=4).value["learning_rate"] == 2e-3
    assert choose_rates(1000, batch_norm=True, batch=2).value["learning_rate"] == 1e-3
    assert choose_rates(5000, batch_norm=True, batch=4).value["learning_rate"] == 1e-3
    assert choose_rates(1000, batch_norm=False, batch=4).value["learning_rate"] == 1e-3


def test_a_coarser_grid_is_offered_where_objects_are_larger_than_a_patch() -> None:
    huge = ClassFacts("cell", 0.5, width_vox=300.0, size_vox=700.0)
    facts = replace(SBEM, classes=(huge,))
    found = coarser_grid(facts, (320, 320))
    assert found is not None
    assert found.value == (40, 24, 24)
    assert "700 voxels wide" in found.reason
    assert coarser_grid(facts, (800, 800)) is None
    assert coarser_grid(replace(facts, voxel_size_nm=None), (320, 320)) is None
    assert coarser_grid(replace(facts, classes=(huge, replace(MEMBRANE, width_vox=5.0))), (320, 320)) is None


def test_volumes_of_several_voxel_sizes_work_on_their_median() -> None:
    found = common_grid([(100, 180, 180), (100, 93, 93), (100, 100, 100), (100, 100, 100), (100, 130, 130)])
    assert found is not None
    assert found.value == (100, 100, 100)
    assert "from 93 to 180 nm" in found.reason
    assert common_grid([(40, 6, 6), (40, 7, 7)]) is None
    assert common_grid([(40, 6, 6), None]) is None
    assert common_grid([(40, 6, 6)]) is None


def test_a_length_by_hand() -> None:
    """30 minutes, 95 % of them usable: 1710 s. Validation of 8 s: 0.12 x 1710 / 8 - 1 = 24 epochs. Each has
    (1710 - 8) / 24 - 8 = 62.9 s for steps of half a second: 125."""
    length = plan_length(30, Measured(0.5, 8.0, 0))
    assert (length.epochs, length.steps, length.updates) == (24, 125, 3000)
    assert length.seconds == pytest.approx(3000 * 0.5 + 25 * 8)
    assert length.validation_batches is None


def test_a_dear_validation_is_replaced_by_drawn_patches() -> None:
    length = plan_length(10, Measured(0.5, 60.0, 0))
    assert length.validation_batches
    assert length.validation_seconds < 0.35 * length.seconds


@given(st.floats(0.01, 1000), st.floats(1e-3, 20), st.floats(0, 400))
def test_what_is_proposed_fits_into_the_minutes(minutes: float, step: float, validation: float) -> None:
    """Law: steps x measured time of a step + all validations <= minutes; and where nothing fits, the minutes that the
    message asks for are enough."""
    measured = Measured(step, validation, 0)
    try:
        length = plan_length(minutes, measured)
    except RecipeError as error:
        text = str(error)
        assert text.startswith(f"--minutes {minutes:g} is not enough for one epoch: 10 steps of {step:.2g} s")
        needed = float(text.split("give --minutes ")[1].split(" ")[0])
        assert needed > minutes
        length, minutes = plan_length(needed, measured), needed
    judged = validation if length.validation_batches is None else length.validation_batches * step
    total = length.epochs * (length.steps * step + judged) + validation
    assert total == pytest.approx(length.seconds)
    assert total <= 60 * minutes * HEADROOM * (1 + 1e-9)
    assert length.epochs >= 1
    assert length.steps >= 10


class Stopwatch:
    """Says what the steps of a draft take, and which drafts it was asked for."""

    def __init__(self, per_channel: float, peak: int = 0, validated: int = 0) -> None:
        self.asked: list[tuple[int, int]] = []
        self.per_channel, self.peak, self.validated = per_channel, peak, validated

    def __call__(self, draft: object) -> Measured:
        width, batch = draft.width, draft.batch.value  # type: ignore[attr-defined]
        self.asked.append((width, batch))
        return Measured(self.per_channel * width, 1.0, self.peak * batch, self.validated)


def test_a_slow_machine_gets_smaller_batches_then_a_narrow_network() -> None:
    """Of 171 s, steps of 1.6 s are 106; half as many patches do not help here, and half the width is taken, too."""
    watch = Stopwatch(0.1)
    found = propose(SBEM, LAPTOP, 3, watch)
    assert watch.asked == [(16, 4), (16, 2), (8, 2)]
    assert "a step of 4 patches took 1.6 s here" in found.draft.batch.reason
    assert found.draft.model.value["widths"] == [8, 16, 32, 64, 128]
    assert found.measured is not None
    assert found.measured.seconds_per_step == pytest.approx(0.8)
    assert "narrow: a step of 2 patches took 1.6 s here" in found.draft.model.reason


def test_steps_that_hold_too_much_memory_are_made_smaller_until_they_fit() -> None:
    watch = Stopwatch(0.001, peak=3 * 2**30)
    found = propose(SBEM, LAPTOP, 30, watch)
    assert watch.asked == [(16, 4), (16, 2)]
    assert "larger steps held 12.0 GiB of the 8.0 GiB" in found.draft.batch.reason
    with pytest.raises(RecipeError, match=r"fits into 8\.0 GiB of memory.*--max-ram"):
        propose(SBEM, LAPTOP, 30, Stopwatch(0.001, peak=2**40))
    with pytest.raises(RecipeError, match="fits into"):
        propose(SBEM, LAPTOP, 30, lambda draft: Measured.too_large())


def test_the_validation_of_a_part_stands_for_all_of_it() -> None:
    found = propose(replace(SBEM, validate_vox=5000), LAPTOP, 30, Stopwatch(0.001, validated=1000))
    assert found.measured is not None
    assert found.measured.validation_seconds == pytest.approx(5)


def test_the_comments_hold_what_was_measured() -> None:
    text = "\n".join(method_lines(propose(SBEM, LAPTOP, 30, Stopwatch(0.71 / 16))))
    flat = " ".join(line.lstrip("# ") for line in text.splitlines())
    assert "one step of 4 patches took 0.71 s here (4 cores): 30 minutes are 2,408 steps" in flat
    assert "mito has 6.2 % of the labelled training voxels" in flat
    assert all(len(line) <= 120 for line in text.splitlines())


def test_without_measuring_the_length_is_a_usual_one_and_says_so() -> None:
    text = "\n".join(method_lines(propose(SBEM, LAPTOP, 30)))
    assert "# not measured: `cristae doctor`" in text
    assert "epochs: 30" in text
    assert "learning_rate: 0.002" in text, "as for any 1,500 updates"


def test_without_measuring_larger_batches_do_not_mean_fewer_updates() -> None:
    """An epoch has 50 steps, of 4 patches without a GPU and of 16 with one."""
    assert "per_epoch: 200" in "\n".join(method_lines(propose(SBEM, LAPTOP, 30)))
    assert "per_epoch: 800" in "\n".join(method_lines(propose(SBEM, GPU, 30)))


def test_all_choices_of_a_draft_are_repeatable() -> None:
    assert choose_draft(SBEM, LAPTOP, 30) == choose_draft(SBEM, LAPTOP, 30)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_minutes_that_are_none_are_refused(minutes: float) -> None:
    with pytest.raises(RecipeError, match="give a number of minutes above 0"):
        ProposalOptions(minutes=minutes)


def test_voxel_sizes_that_are_none_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"--working-voxel-size-nm 40 0 6: give lengths"):
        ProposalOptions(working_voxel_size_nm=(40, 0, 6))
