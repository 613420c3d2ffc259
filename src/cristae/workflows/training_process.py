"""One of the processes that train a network together; `train` starts it as `python -m` of this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cristae.models.external import own_errors
from cristae.progress import Progress
from cristae.recipe.run import open_unfinished_run
from cristae.training.cache_folder import open_cache
from cristae.training.processes import take_part
from cristae.workflows.prepare_training import make_network, start_network
from cristae.workflows.train_network import TrainingSession
from cristae.workflows.training_data import open_training_data


def train_together(arguments: Sequence[str], progress: Progress) -> dict[str, Any]:
    """Train the run in a folder until an epoch is done; the best epoch, its score and what it took."""
    path, until_epoch = arguments
    run = open_unfinished_run(path)
    data = open_training_data(run.recipe)
    network, locality = make_network(run.recipe, data.regions.classes)
    start = start_network(network, run.recipe, run.path, Progress())
    with own_errors(run.recipe.model, network), open_cache() as cache:
        session = TrainingSession(run.recipe, run, data, network, locality, start, int(until_epoch))
        return session.prepare(cache, Progress()).run(progress)


if __name__ == "__main__":
    take_part(train_together)
