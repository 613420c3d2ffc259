"""Updates that are not finite: noted on the device, named and saved, and undone to the last bit where asked."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from resuming_work import Interruptions, Stopped, results, train_once
from safetensors import safe_open
from torch import Tensor, nn

from cristae.augment import Batch
from cristae.errors import TrainingError
from cristae.training import guard as guards
from cristae.training.averaging import AveragedWeights
from cristae.training.feed import PatchFeed
from cristae.training.guard import UpdateGuard

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adam": lambda network: torch.optim.Adam(network.parameters(), lr=0.1),
    "adamw": lambda network: torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1),
    "radam": lambda network: torch.optim.RAdam(network.parameters(), lr=0.1),
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=0.1),
    "momentum": lambda network: torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
}


def network_of() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3))
    return made.to(memory_format=torch.channels_last)


def everything(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[bytes]:
    """Parameters, running statistics and the optimiser's state, bit by bit."""
    tensors = list(network.state_dict().values())
    for parameter in network.parameters():
        tensors += [value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor)]
    return [tensor.contiguous().numpy().tobytes() for tensor in tensors]


class Session:
    """Updates by hand, as the training module makes them."""

    def __init__(self, kind: str, *, skip: bool = True, updates: int = 12) -> None:
        self.network = network_of()
        self.optimizer = OPTIMIZERS[kind](self.network)
        self.guard = UpdateGuard(self.network, updates, skip=skip)
        self.guard.begin_session(self.optimizer, torch.device("cpu"), 1)

    def update(self, number: int, *, wrong: str = "", batches: int = 1) -> None:
        self.guard.begin_update(number)
        for batch in range(number, number + batches):
            image = torch.from_numpy(np.random.default_rng(batch).random((2, 1, 9, 9), np.float32))
            if wrong == "image" and batch == number:
                image[0, 0, 3, 3] = float("nan")
            output = self.network(image)
            loss = (output**2).mean()
            if wrong == "gradient":  # sqrt has an infinite slope at 0
                loss = loss + (output * 0).abs().sum().sqrt()
            self.guard.see_loss(loss, batch)
            loss.backward()
        self.guard.see_gradients(self.optimizer)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.guard.end_update()


@pytest.fixture(params=["waits", "undoes on the device"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "waits":
        monkeypatch.setattr(guards, "_waits", lambda device: True)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("wrong", ["image", "gradient"])
@pytest.mark.parametrize("first", [True, False], ids=["the first update", "a later one"])
def test_a_skipped_update_changes_nothing(kind: str, wrong: str, first: bool) -> None:
    bad, good = Session(kind), Session(kind)
    if not first:
        for session in (bad, good):
            session.update(0)
            session.update(1)
    before = everything(bad.network, bad.optimizer)
    bad.update(2, wrong=wrong)
    assert everything(bad.network, bad.optimizer) == before
    assert bad.guard.notes.tolist()[2] == (guards.BAD_LOSS if wrong == "image" else guards.BAD_GRADIENT)
    for session in (bad, good):
        session.update(3)
    assert everything(bad.network, bad.optimizer) == everything(good.network, good.optimizer)
    assert bad.guard.mean_loss() == good.guard.mean_loss()


@pytest.mark.usefixtures("_way")
def test_one_bad_batch_undoes_the_whole_update_that_it_accumulates_into() -> None:
    bad, good = Session("adam"), Session("adam")
    for session in (bad, good):
        session.update(0, batches=3)
    before = everything(bad.network, bad.optimizer)
    bad.update(3, wrong="image", batches=3)
    assert everything(bad.network, bad.optimizer) == before
    assert bad.guard.notes.tolist()[:6] == [0, 0, 0, guards.BAD_LOSS, 0, 0]
    assert bad.guard.mean_loss() == good.guard.mean_loss()


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("batches", [1, 3])
def test_a_skipped_update_neither_enters_the_average_nor_advances_its_ramp(batches: int) -> None:
    bad, good = Session("adam"), Session("adam")
    averages = {session: AveragedWeights(session.network, 0.9) for session in (bad, good)}

    def update(session: Session, number: int, wrong: str = "") -> None:
        session.update(number, wrong=wrong, batches=batches)
        averages[session].update(session.network, session.guard.undone)

    for session in (bad, good):
        update(session, 0)
    update(bad, 3, "image")
    update(bad, 6, "gradient")
    for session in (bad, good):
        update(session, 9)
    tensors = [
        [one.numpy().tobytes() for one in average.network.state_dict().values()] for average in averages.values()
    ]
    assert tensors[0] == tensors[1]
    assert [average.state_dict()["updates"] for average in averages.values()] == [2, 2]


def test_without_skipping_the_update_is_made_and_noted() -> None:
    session = Session("adam", skip=False)
    before = everything(session.network, session.optimizer)
    session.update(0, wrong="gradient")
    assert everything(session.network, session.optimizer) != before
    assert session.guard.notes[0] == guards.BAD_GRADIENT
    assert session.guard.mean_loss() == session.guard.mean_loss(), "the loss itself is finite"


class Heard(Interruptions):
    def __init__(self, after: int = 0) -> None:
        super().__init__(after)
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture
def bad_batches(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, int]]:
    """(epoch from 0, batch from 0) whose images hold a NaN."""
    chosen: set[tuple[int, int]] = set()
    made = PatchFeed.batches

    def spoiled(self: PatchFeed, epoch: int, groups: Sequence[range]) -> Iterator[Batch]:
        for group, batch in zip(groups, made(self, epoch, groups), strict=True):
            if (epoch, group[0] // 4) in chosen:
                image = batch.image.float()
                image[1, 0, 2, 3] = float("nan")
                batch = replace(batch, image=image)
            yield batch

    monkeypatch.setattr(PatchFeed, "batches", spoiled)
    return chosen


def test_a_batch_that_is_not_finite_is_named_and_saved(tmp_path: Path, bad_batches: set[tuple[int, int]]) -> None:
    bad_batches.add((1, 2))
    where = r"in epoch 2: batch 3 \(patches v .*; v .*; not finite in it: image\), saved as .*epoch-002-batch-003"
    with pytest.raises(TrainingError, match=rf"the loss is not finite .* {where}.*training.nonfinite: skip"):
        train_once(tmp_path, Interruptions(0))
    with safe_open(tmp_path / "nonfinite" / "epoch-002-batch-003.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        image = file.get_tensor("image")
        assert set(file.keys()) == {"image", "target", "valid"}
    assert (facts["epoch"], facts["batch"], facts["not_finite"]) == (2, 3, "loss")
    assert facts["seeds"] == [[1, 1, index, 1] for index in range(8, 12)]
    assert len(facts["boxes"]) == len(facts["volumes"]) == 4
    assert image.isnan().any(dim=(1, 2, 3)).tolist() == [False, True, False, False]


def test_skipped_updates_are_counted_and_the_training_goes_on(
    tmp_path: Path, bad_batches: set[tuple[int, int]]
) -> None:
    bad_batches |= {(0, 1), (1, 0), (1, 4)}
    heard = Heard()
    train_once(tmp_path, heard, "nonfinite: skip\n")
    rows = [(tmp_path / f"row-{epoch}").read_text() for epoch in (1, 2, 3)]
    assert [f"('skipped_updates', {n})" in row for n, row in zip((1, 2, 0), rows, strict=True)] == [True] * 3
    assert all("nan" not in row for row in rows)
    assert len(heard.warned) == 3
    assert len(list((tmp_path / "nonfinite").iterdir())) == 3
    assert all(tensor.isfinite().all() for tensor in torch.load(tmp_path / "end.pt", weights_only=True).values())


def test_averages_leave_out_skipped_updates(tmp_path: Path, bad_batches: set[tuple[int, int]]) -> None:
    bad_batches |= {(0, 1), (1, 0), (1, 3)}
    train_once(tmp_path, Interruptions(0), "nonfinite: skip\naccumulate: 2\nema_decay: 0.8\n")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    assert checkpoint["callbacks"]["AveragedWeights"]["updates"] == 3


def test_a_training_with_skipped_updates_resumes_to_the_same_bytes(
    tmp_path: Path, bad_batches: set[tuple[int, int]]
) -> None:
    bad_batches |= {(0, 1), (1, 0), (1, 1)}
    options = "nonfinite: skip\ncheckpoint_minutes: 1e-6\n"
    train_once(tmp_path / "undisturbed", Interruptions(0), options)
    for after in (3, 10, 12):
        with pytest.raises(Stopped):
            train_once(tmp_path / str(after), Interruptions(after), options)
        train_once(tmp_path / str(after), Interruptions(0), options)
        assert results(tmp_path / str(after)) == results(tmp_path / "undisturbed")


def test_too_many_skipped_updates_in_a_row_end_the_training(
    tmp_path: Path, bad_batches: set[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cristae.training.nonfinite._MOST_IN_A_ROW", 4)
    bad_batches |= {(0, 0), (0, 1), (0, 2), (0, 4), (1, 0), (1, 1), (1, 2)}
    with pytest.raises(TrainingError, match="4 updates in a row had no finite loss and gradient, the last in epoch 2"):
        train_once(tmp_path, Interruptions(0), "nonfinite: skip\n")


def test_what_is_not_finite_is_never_checkpointed(
    tmp_path: Path, bad_batches: set[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_waits", lambda device: True)  # so that it is looked at now and then only
    bad_batches.add((0, 1))
    with pytest.raises(TrainingError, match="batch 2"):
        train_once(tmp_path, Interruptions(0), "checkpoint_minutes: 1e-6\n")
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values())
    assert kept["global_step"] == 1
