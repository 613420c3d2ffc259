"""Each part of the training section: killed and resumed, a training ends with the bits of an undisturbed one."""

from pathlib import Path
from typing import Any

import pytest
from test_fit import Notes, Stopped, same, train_once

from cristae.training.config import TrainingConfig

SCORES = [0.5, 0.6, 0.4, 0.4]
PARTS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": {"name": "adam", "betas": [0.968377, 0.992057]}},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "radam": {"optimizer": "radam", "schedule": {"name": "linear", "warmup": 0.1, "updates": 40, "truncated": True}},
    "sgd": {"optimizer": {"name": "sgd", "nesterov": True}, "weight_decay": 5e-4, "schedule": {"name": "poly"}},
    "staircase": {"schedule": {"name": "staircase", "interval": 2.5, "warmup": 3}},
    "plateau": {"schedule": {"name": "plateau", "patience": 1}},
    "constant": {"schedule": {"name": "constant", "warmup": 0.5}},
    "groups": {
        "groups": [
            {"match": "bias", "learning_rate_factor": 2, "weight_decay_factor": 0},
            {"match": "norm", "learning_rate_factor": 0},
        ],
        "optimizer": "sgd",
        "weight_decay": 0.01,
    },
    "accumulate": {"accumulate": 3, "gradient_clip": 0.1},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path, part: str) -> None:
    config = TrainingConfig.model_validate({"epochs": 4, "learning_rate": 1e-2} | PARTS[part])
    whole, rest = Notes(SCORES), Notes(SCORES)
    undisturbed = train_once(tmp_path / "one", whole, config=config)
    with pytest.raises(Stopped):
        train_once(tmp_path / "two", Notes(SCORES, dies_in=3), config=config)
    rest.epoch = 2
    assert same(undisturbed, train_once(tmp_path / "two", rest, config=config))
    assert [row["learning_rate"] for row in rest.rows] == [row["learning_rate"] for row in whole.rows[2:]]
