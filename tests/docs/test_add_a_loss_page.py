"""The target and the term of "Add a loss term or a target" do what the page says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cristae.augment import Batch
from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses.term import SumOfTerms
from cristae.targets import NoWeighting
from cristae.training.preparation import prepare_batch

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-loss.md"
ONE = Classes(names=("background", "thing"))


def test_the_target_and_the_term_of_the_page_by_hand() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)
    target = torch.tensor([[[0, 1, 1, 1, 0, 0]]], dtype=torch.uint8)
    valid = torch.tensor([[[True, True, True, True, True, False]]])
    batch = Batch(torch.zeros(1, 1, 1, 6), target, valid, None, (), ("v",))
    targets = NoWeighting.model_construct(further=(names["Blurred"](),)).bind({}, ONE, None)
    prepared = prepare_batch(batch, (), targets, [np.random.default_rng(0)])
    soft = [1 / 2, 2 / 3, 1, 2 / 3, 1 / 2]
    torch.testing.assert_close(prepared.further["blurred"][0, 0, 0, :5], torch.tensor(soft))
    loss = SumOfTerms([names["BlurredCrossEntropy"](weight=2.0)], ONE)
    logits = torch.tensor([[[[0.0, 1, 2, -1, 0, 9]]]])
    value = loss(logits, prepared.target, prepared.valid, prepared.weight, prepared.further)
    p = 1 / (1 + np.exp(-np.array([0.0, 1, 2, -1, 0])))
    expected = -2 * np.mean(np.array(soft) * np.log(p) + (1 - np.array(soft)) * np.log(1 - p))
    assert value.item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(RecipeError, match="use 'cross_entropy'"):
        names["BlurredCrossEntropy"]().build(Classes(names=("background", "thing", "other")))
