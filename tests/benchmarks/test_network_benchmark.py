"""The benchmark of networks: what it counts and what its table says. The figures themselves are no test."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import networks


def clock(monkeypatch: pytest.MonkeyPatch, taken: list[float]) -> Callable[[], None]:
    """A step whose rounds take these seconds."""
    monkeypatch.setattr(networks, "seconds", lambda step, device: taken.pop(0))
    return lambda: None


def test_rounds_stop_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    step = clock(monkeypatch, [3.0, 2.0, 2.0, 2.0, 2.0])
    assert networks.timed(step, "cpu", rounds=7, limit_s=6.5) == ([2.0, 2.0], 3.0)


def test_rounds_stop_at_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    step = clock(monkeypatch, [0.3, 0.1, 0.2])
    assert networks.timed(step, "cpu", rounds=2, limit_s=100) == ([0.1, 0.2], 0.3)


def test_a_first_round_beyond_the_limit_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    step = clock(monkeypatch, [9.0])
    assert networks.timed(step, "cpu", rounds=7, limit_s=5) == ([9.0], 9.0)


def test_batches_fill_a_gpu_and_are_single_on_a_cpu() -> None:
    flat, thick = networks.row_of("unet_bn"), networks.row_of("unet_3d-thick")
    assert (networks.batch_of(flat, "cpu"), networks.batch_of(flat, "cuda")) == (1, 16)
    assert (networks.batch_of(thick, "cpu"), networks.batch_of(thick, "cuda")) == (1, 4)
    assert networks.batch_of(networks.row_of("deeplab_vgg"), "cpu") == 2


def test_precision_that_a_share_is_of() -> None:
    found = {
        (mode, device): networks.precision_of(mode, device) for mode in networks.MODES for device in ("cpu", "cuda")
    }
    assert {key for key, precision in found.items() if precision == "bfloat16"} == {
        ("bf16", "cpu"),
        ("bf16", "cuda"),
        ("compiled", "cuda"),
    }


def test_a_network_beyond_the_budget_is_skipped_with_the_reason() -> None:
    class Asked:
        device, rate, budget = "cpu", 1.0, 5.0

    found = networks.measure(networks.row_of("unet_bn"), "eager", Asked)  # type: ignore[arg-type]
    assert found == {"skipped": "one prediction takes at least 6.0 s, the budget is 5 s"}


def test_table_tells_figures_and_reasons() -> None:
    row = {"batch": 2, "channels": 1, "image_size": [8, 8], "gflop_per_image": 1.5}
    forward = {"forward_s": 0.0125, "forward_share": 0.5, "forward_peak_mib": 1234}
    figures = {
        "device": "cpu",
        "gflop_per_second": {"float32": 100.0},
        "networks": {
            "a": {**row, "modes": {"eager": {**forward, "training_skipped": "out of memory"}}},
            "b": {**row, "modes": {"eager": {"skipped": "too slow"}}},
        },
    }
    lines = networks.table(figures).splitlines()
    assert lines[-2] == "| `a` | 2x1x8x8 | 3.0 | eager | 12.5 | 50 % | 1,234 | out of memory |  |  |"
    assert lines[-1] == "| `b` | 2x1x8x8 | 3.0 | eager | too slow |  |  | too slow |  |  |"
    assert {line.count("|") for line in lines[2:]} == {11}


def test_results_of_another_machine_are_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "networks-cpu.json"
    assert networks.kept_results(path) == {}
    path.write_text('{"machine": {"processor": "another"}}')
    with pytest.raises(SystemExit, match="another machine"):
        networks.kept_results(path)
