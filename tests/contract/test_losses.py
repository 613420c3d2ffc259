"""Laws that every loss keeps."""

from collections.abc import Callable
from typing import NamedTuple, get_args

import pytest
import torch
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses import (
    AbsoluteError,
    Affinity,
    BinaryCrossEntropy,
    Boundary,
    BoundaryAware,
    ClDice,
    CrossEntropy,
    CrossEntropyDice,
    DenseCellLoss,
    Dice,
    Focal,
    JaccardDistance,
    JaccardLog,
    Loss,
    LossConfig,
    PrintedDice,
    SegETLoss,
    SquaredError,
    SumLoss,
    Term,
    Tversky,
    WeightedDice,
)
from cristae.targets import Boundaries, Distances
from cristae.targets.masks import foreground_masks

ONE = Classes(names=("background", "mito"))
FOUR = Classes(names=("background", "mito", "membrane", "granule"))
OVERLAPPING = Classes(names=("mito", "cell", "granule"), exclusive=False)

CASES: dict[str, tuple[LossConfig, Classes]] = {
    "seget-one": (SegETLoss(), ONE),
    "seget-sample": (SegETLoss(jaccard="sample", weights="both"), ONE),
    "seget-overlapping": (SegETLoss(), OVERLAPPING),
    "seget-overlapping-sample": (SegETLoss(jaccard="sample", weights="both"), OVERLAPPING),
    "dice-one": (CrossEntropyDice(), ONE),
    "dice-one-all": (CrossEntropyDice(dice_classes="all"), ONE),
    "dice-four": (CrossEntropyDice(), FOUR),
    "dice-four-all": (CrossEntropyDice(dice_classes="all", cross_entropy_weight=0.5), FOUR),
    "dice-overlapping": (CrossEntropyDice(), OVERLAPPING),
    "dense-one": (DenseCellLoss(), ONE),
    "dense-four": (DenseCellLoss(), FOUR),
    "dense-four-mean": (DenseCellLoss(reduction="mean"), FOUR),
    "dense-overlapping": (DenseCellLoss(), OVERLAPPING),
    "sum-one": (SumLoss(terms=(BinaryCrossEntropy(), JaccardDistance(weight=0.5, over="sample"))), ONE),
    "sum-four": (SumLoss(terms=(CrossEntropy(weight=2), JaccardDistance(voxel_weights=True), Dice())), FOUR),
    "sum-four-all": (SumLoss(terms=(JaccardDistance(classes="all"), Dice(weight=0.1))), FOUR),
    "sum-overlapping": (SumLoss(terms=(BinaryCrossEntropy(reduction="sum"), Dice(classes="all"))), OVERLAPPING),
} | {
    f"{type(term).model_fields['name'].default}-{where}": (SumLoss(terms=(term,)), classes)
    for where, classes in {"one": ONE, "four": FOUR, "overlapping": OVERLAPPING}.items()
    for term in (
        AbsoluteError(),
        Affinity(steps_vox=(1, 2)),
        Boundary(),
        BoundaryAware(),
        ClDice(iterations=2),
        Focal(),
        JaccardLog(),
        PrintedDice(),
        SquaredError(),
        Tversky(gamma=4 / 3),
        WeightedDice(class_weights={"mito": 0.7}),
    )
}
cases = pytest.mark.parametrize(("config", "classes"), CASES.values(), ids=CASES)


def floor_of(config: LossConfig, classes: Classes) -> float:
    """The value of a right answer where it is not 0."""
    term = config.terms[0] if isinstance(config, SumLoss) else None
    if isinstance(term, PrintedDice):
        return -1.0
    if isinstance(term, WeightedDice):
        return 0.3 / len(classes.names)
    return 0.0


class Example(NamedTuple):
    logits: Tensor
    target: Tensor
    valid: Tensor
    weight: Tensor | None
    further: dict[str, Tensor]
    """All channels that a term may read."""

    def change(self, change: Callable[[Tensor], Tensor]) -> "Example":
        """The same with all tensors changed alike."""
        further = {name: change(one) for name, one in self.further.items()}
        return Example(*(change(part) for part in self[:4]), further)


def example(classes: Classes, *size: int, dtype: torch.dtype = torch.float32) -> Example:
    """Three samples; a quarter of the voxels is not valid."""
    generator = torch.Generator().manual_seed(5)
    size = size or (6, 7)
    logits = torch.randn(3, classes.n_logits, *size, dtype=dtype, generator=generator)
    shape, high = ((3, *size), len(classes.names)) if classes.exclusive else (logits.shape, 2)
    target = torch.randint(0, high, shape, dtype=torch.uint8, generator=generator)
    valid = torch.rand(3, *size, generator=generator) < 0.75
    weight = torch.rand(target.shape, generator=generator) + 0.5
    masks = foreground_masks(target, valid, classes)
    further = {one.name: one(masks, valid, None).to(dtype) for one in (Distances(limit=3), Boundaries())}
    return Example(logits, target, valid, weight, further)


def spread(mask: Tensor, like: Tensor) -> Tensor:
    """A mask (B, *S) over the channels of `like`, if it has them."""
    return mask if like.ndim == mask.ndim else mask.unsqueeze(1).expand_as(like)


def test_every_loss_is_tested_here():
    assert {type(config) for config, _ in CASES.values()} == set(get_args(get_args(Loss)[0]))
    terms = {type(term) for config, _ in CASES.values() if isinstance(config, SumLoss) for term in config.terms}
    assert terms == set(get_args(get_args(Term)[0]))


@cases
def test_an_invalid_voxel_changes_nothing(config, classes):
    loss, clean = config.build(classes), example(classes)
    invalid = ~clean.valid
    spoiled = Example(
        clean.logits.masked_fill(spread(invalid, clean.logits), float("nan")),
        clean.target.masked_fill(spread(invalid, clean.target), 255),
        clean.valid,
        clean.weight.masked_fill(spread(invalid, clean.weight), float("inf")),
        {name: one.masked_fill(spread(invalid, one), float("nan")) for name, one in clean.further.items()},
    )
    for weights in (True, False):
        values, gradients = [], []
        for case in (clean, spoiled):
            logits = case.logits.clone().requires_grad_()
            value = loss(logits, case.target, case.valid, case.weight if weights else None, case.further)
            value.backward()
            values.append(value)
            gradients.append(logits.grad)
        assert torch.equal(*values)
        assert torch.equal(*gradients)
        assert torch.count_nonzero(gradients[0][spread(invalid, clean.logits)]) == 0
        assert torch.count_nonzero(gradients[0][spread(clean.valid, clean.logits)]) > 0


@cases
def test_padding_that_is_not_valid_leaves_every_mean_as_it_was(config, classes):
    loss, inside = config.build(classes), example(classes, 6, 4)
    wider = inside.change(lambda part: torch.cat([part, part], dim=-1))
    wider.valid[..., 4:] = False
    torch.testing.assert_close(loss(*wider), loss(*inside))
    more = inside.change(lambda part: torch.cat([part, part[:1]]))
    more.valid[3] = False
    torch.testing.assert_close(loss(*more), loss(*inside))


@cases
def test_gradient_in_float64(config, classes):
    loss, (logits, target, valid, weight, further) = config.build(classes), example(classes, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda y: loss(y, target, valid, weight.double(), further), logits.requires_grad_(), atol=1e-7
    )


@pytest.mark.parametrize(
    ("config", "classes"), [case for name, case in CASES.items() if not name.startswith(("affinity", "cl_dice"))]
)
def test_works_in_three_dimensions_as_in_two(config, classes):
    loss, flat = config.build(classes), example(classes, 4, 6)
    deep = flat.change(lambda part: part.unflatten(-2, (2, 2)))
    torch.testing.assert_close(loss(*deep), loss(*flat))


@cases
def test_a_batch_without_a_valid_voxel_gives_zero_and_no_gradient(config, classes):
    logits, target, valid, weight, further = example(classes)
    logits.requires_grad_()
    value = config.build(classes)(logits, target, torch.zeros_like(valid), weight, further)
    value.backward()
    assert value.item() == pytest.approx(floor_of(config, classes), abs=1e-6)
    assert torch.count_nonzero(logits.grad) == 0


@cases
def test_an_empty_target_is_finite_and_a_right_answer_near_zero(config, classes):
    logits, target, valid, _, further = example(classes)
    target.zero_()
    right = torch.full_like(logits, -30.0)
    if classes.softmax:
        right[:, 0] = 30.0
    for case in (logits, right):
        case.requires_grad_()
        value = config.build(classes)(case, target, valid, None, further)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(case.grad).all()
    assert value.item() < floor_of(config, classes) + 1e-4


@cases
def test_better_logits_lose_less(config, classes):
    logits, target, valid, weight, further = example(classes)
    logits.requires_grad_()
    loss = config.build(classes)
    before = loss(logits, target, valid, weight, further)
    before.backward()
    with torch.no_grad():
        assert loss(logits - 0.5 * logits.grad, target, valid, weight, further) < before


@cases
def test_bfloat16_logits_are_worked_in_float32(config, classes):
    loss, (logits, target, valid, weight, further) = config.build(classes), example(classes)
    logits = logits.bfloat16()
    expected = loss(logits.float(), target, valid, weight, further)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(logits, target, valid, weight, further)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@cases
def test_ids_may_be_uint8_or_long(config, classes):
    loss, (logits, target, valid, weight, further) = config.build(classes), example(classes)
    found = loss(logits, target, valid, weight, further)
    assert torch.equal(found, loss(logits, target.long(), valid, weight, further))
