"""The target and the term of "Add a loss term or a target" do what the page says."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cristae.augment import Batch
from cristae.data.classes import Classes
from cristae.losses.term import SumOfTerms
from cristae.training.preparation import prepare_batch

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-loss.md"
ONE = Classes(names=("background", "thing"))


def test_the_boundary_loss_of_the_page_by_hand() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)
    target = torch.tensor([[[0, 1, 1, 1, 0, 0]]], dtype=torch.uint8)
    valid = torch.tensor([[[True, True, True, True, True, False]]])
    batch = Batch(torch.zeros(1, 1, 1, 6), target, valid, None, (), ("v",))
    prepared = prepare_batch(batch, (), partial(names["SignedDistance"](), statistics={}), [None])  # type: ignore[list-item]
    assert prepared.further["distance"].tolist() == [[[[1, -1, -2, -1, 1, 2]]]]
    loss = SumOfTerms([names["Boundary"](weight=2.0)], ONE)
    value = loss(torch.zeros(1, 1, 1, 6), prepared.target, prepared.valid, prepared.weight, prepared.further)
    assert value.item() == pytest.approx(2 * 0.5 * (1 - 1 - 2 - 1 + 1) / 5)
