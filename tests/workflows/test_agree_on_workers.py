"""Annotators are compared by workers: the counts of one process."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_evaluate import maps, save

from cristae.cluster.jobs import Job, JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import LabelError, VolumeError
from cristae.evaluation import blocks
from cristae.evaluation.agreement import AgreementOptions
from cristae.workflows import agree_on_workers as module
from cristae.workflows.agree import agree

TWO = ClusterOptions(workers=2)
THREE = Classes(names=("background", "cell", "granule"))


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Small blocks, sent in groups as they are to workers, but counted in this process and in any order."""
    names: list[str] = []

    def instead(jobs: Sequence[Job], options: ClusterOptions, **rest: Any) -> tuple[JobFailure, ...]:
        assert options == TWO
        names.extend(job.key for job in jobs)
        order = random.Random(0)
        sent = [replace(one, arguments=pickle.loads(pickle.dumps(one.arguments)), cost=order.random()) for one in jobs]
        done = rest.pop("on_done")
        del rest["each"]
        return run_jobs(sent, on_done=lambda key, found: done(key, pickle.loads(pickle.dumps(found))), **rest)

    monkeypatch.setattr(module, "run_jobs", instead)
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 2000)
    return names


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Three annotators in the current folder, and a mask."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("anna", "bert", "cleo")):
        save(tmp_path / f"{name}.tif", maps(3, seed=number)[1])
    mask = np.ones(maps(3)[0].shape, np.uint8)
    mask[2:4, :20] = 0
    save(tmp_path / "mask.tif", mask)
    return {name: f"{name}.tif" for name in ("anna", "bert", "cleo")}


def test_scores_are_those_of_one_process(tmp_path: Path, people: dict[str, str], workers_here: list[str]) -> None:
    how: dict[str, Any] = {"classes": THREE, "mask": "mask.tif", "options": AgreementOptions(over=("cell", "granule"))}
    alone = agree(people, out="alone.csv", **how)
    found = agree(people, out="workers.csv", cluster=TWO, **how)
    assert len(workers_here) > 4
    assert repr(found.scores()) == repr(alone.scores())
    for kind in ("csv", "json", "confusions.csv"):
        assert (tmp_path / f"workers.{kind}").read_bytes() == (tmp_path / f"alone.{kind}").read_bytes()
    slices = [list(pair.slices.items()) for pair in found.pairs]
    for own, theirs in zip(slices, (list(pair.slices.items()) for pair in alone.pairs), strict=True):
        assert [z for z, _ in own] == [z for z, _ in theirs]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(own, theirs, strict=True))


def test_what_is_wrong_in_a_block_is_told(tmp_path: Path, people: dict[str, str], workers_here: list[str]) -> None:
    wrong = maps(3)[0]
    wrong[3, 20, 20] = 9
    save(tmp_path / "bert.tif", wrong)
    with pytest.raises(LabelError) as alone:
        agree(people, classes=THREE)
    with pytest.raises(LabelError) as told:
        agree(people, classes=THREE, cluster=TWO)
    assert "bert.tif holds value 9 (1 voxel) in slice 3" in str(alone.value)
    assert str(told.value).replace(f"{tmp_path}/", "") == str(alone.value)


def test_what_is_in_memory_goes_to_no_worker(people: dict[str, str]) -> None:
    with pytest.raises(VolumeError, match="is open in this process only, so that no worker can read it"):
        agree(people | {"dora": image_of_array(maps(3)[0])}, classes=THREE, cluster=TWO)
