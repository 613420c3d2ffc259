"""Damaged files of every format through `inspect`: a description or a refusal, soon, in little memory."""

from __future__ import annotations

import os
import random
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from seed_files import SEEDS

SLOWEST_S = 10.0
MOST_MIB = 2048
_RUNS = int(os.environ.get("CRISTAE_MUTATIONS", "20000"))
_EXTREMES = [bytes.fromhex(word) for word in ("00000000", "ffffffff", "7fffffff", "ffffff7f", "80000000", "01", "ffff")]


@dataclass
class Verdict:
    """How `inspect` ended."""

    code: int
    peak_mib: int
    said: str


class Inspector:
    """`inspect` in a process of its own, which is started again when it hangs or dies."""

    def __init__(self) -> None:
        self.process = self._start()

    def __call__(self, path: Path) -> Verdict:
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            answered = waiting.select(SLOWEST_S)
        line = process.stdout.readline() if answered else ""
        if line.count("\t") >= 2:
            code, peak, said = line.rstrip("\n").split("\t", 2)
            return Verdict(int(code), int(peak), said)
        self.close()
        self.process = self._start()
        return Verdict(-1, 0, f"{'died' if answered else 'hung'} ({process.returncode})")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        worker = Path(__file__).with_name("mutation_worker.py")
        return subprocess.Popen(
            [sys.executable, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    made = Inspector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    for name, write in SEEDS.items():
        write(folder / name)
    return folder


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four changes, most of them near the start, where formats keep their structure."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        near = rng.random() < 0.6
        at = rng.randrange(max(1, min(len(data), 400) if near else len(data)))
        kind = rng.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at : at + 1] = bytes([(data[at] if at < len(data) else 0) ^ 1 << rng.randrange(8)])
        elif kind == 2:
            value = rng.choice(_EXTREMES)
            data[at : at + len(value)] = value
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randint(1, 16))
        else:
            other = rng.randrange(max(1, len(data)))
            data[at : at + 32] = data[other : other + 32]
    return bytes(data)


def mutate(source: Path, target: Path, rng: random.Random) -> None:
    """A copy of a file with changed bytes, or of a folder with one changed, missing or emptied file."""
    if source.is_file():
        target.write_bytes(mutated(source.read_bytes(), rng))
        return
    shutil.copytree(source, target)
    files = sorted(file for file in target.rglob("*") if file.is_file())
    small = [file for file in files if file.suffix == ".json" or file.name.startswith(".z") or file.name == "info"]
    file = rng.choice(small if small and rng.random() < 0.7 else files)
    if rng.random() < 0.05:
        file.unlink()
    else:
        file.write_bytes(mutated(file.read_bytes(), rng))


def check(runs: range, seeds: Path, folder: Path, inspector: Inspector) -> None:
    """Inspect mutated files and list every one that ended otherwise than by a description or a refusal."""
    wrong = []
    names = sorted(SEEDS)
    for run in runs:
        rng, name = random.Random(run), names[run % len(names)]
        target = folder / f"m{run}_{name}"
        mutate(seeds / name, target, rng)
        verdict = inspector(target)
        if verdict.code not in (0, 2) or verdict.peak_mib > MOST_MIB:
            wrong.append(f"{run} {name}: {verdict}")
            if len(wrong) >= 20:
                break
        elif target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
    assert not wrong, "\n".join(wrong)


def test_the_seeds_themselves_are_read(seeds: Path, inspector: Inspector) -> None:
    assert {name: verdict for name in SEEDS if (verdict := inspector(seeds / name)).code != 0} == {}


def test_some_mutated_files(seeds: Path, tmp_path: Path, inspector: Inspector) -> None:
    check(range(2 * len(SEEDS)), seeds, tmp_path, inspector)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_mutated_files(seeds: Path, tmp_path: Path, inspector: Inspector) -> None:
    check(range(1000, 1000 + _RUNS), seeds, tmp_path, inspector)
