"""How fast is every network, how much memory does it take, and how much of what the machine can do does it use?

Each network runs on one batch of images of the size that it is trained on: a prediction, and a training step (forward,
backward, Adam). Each way of running is measured in a process of its own, so that its peak memory is its own and a crash
or a time limit ends nothing else:

- eager: float32, as PyTorch lays tensors out;
- channels_last: float32, channels last;
- bf16: bfloat16 where autocast finds it safe, channels last;
- compiled: the same as bf16 on a GPU and as channels_last on a CPU, through torch.compile.

The share is that of the best rate that a few large convolutions reach in the same run, with the same precision; the
FLOP of a training step are taken as three times those of a prediction.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import RESULTS, facts, peak_bytes, write_result
from cristae.allocator import keep_large_buffers
from cristae.errors import NetworkError
from cristae.inference.catalogue import ModelFacts
from cristae.models import network_config
from cristae.workflows.models import list_models

MODES = ("eager", "channels_last", "bf16", "compiled")
VOXELS_ON_GPU = 2**21
"""Voxels of a batch on a GPU; on a CPU a batch is one image, or as many as training needs."""
STARTUP_S = 60
COMPILE_S = 540
ROUNDS = 7


def main() -> None:
    """Measure what is asked for, keep it after each network, write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--budget", type=float, default=20.0, help="seconds for each network in each way of running")
    options.add_argument("--only", nargs="+", metavar="ID", help="networks by their name in `cristae models list`")
    options.add_argument("--modes", nargs="+", choices=MODES, help="all; on a CPU without compiled, which is slow")
    options.add_argument("--resume", action="store_true", help="keep what is measured already")
    options.add_argument("--measure", nargs=2, metavar=("ID", "MODE"), help=argparse.SUPPRESS)
    options.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    options.add_argument("--rates", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.rates:
        print(json.dumps(convolution_rates(asked.device)))
    elif asked.measure:
        print(json.dumps(measure(row_of(asked.measure[0]), asked.measure[1], asked)))
    else:
        run(asked)


def run(asked: argparse.Namespace) -> None:
    """All networks, one after the other."""
    name = f"networks-{asked.device}"
    chosen = [row_of(one) for one in asked.only] if asked.only else list(list_models())
    modes = asked.modes or [mode for mode in MODES if mode != "compiled" or asked.device == "cuda"]
    kept = kept_results(RESULTS / f"{name}.json") if asked.resume else {}
    rates = kept.get("gflop_per_second") or child(asked, ["--rates"], STARTUP_S)
    rows: dict[str, Any] = kept.get("networks", {})
    print(f"large convolutions: {rates}")
    for one in chosen:
        row = rows.setdefault(one.id, {**shape_of(one, asked.device), "modes": {}})
        for mode in modes:
            if mode not in row["modes"]:
                row["modes"][mode] = measured_apart(one, mode, asked, rates)
                print(one.id, mode, row["modes"][mode], flush=True)
        figures = {"device": asked.device, "gflop_per_second": rates, "budget_s": asked.budget, "networks": rows}
        write_result(name, figures)
        (RESULTS / f"{name}.md").write_text(table(figures), encoding="utf-8")


def kept_results(path: Path) -> dict[str, Any]:
    """What an earlier run measured on this machine with as many threads."""
    if not path.is_file():
        return {}
    kept: dict[str, Any] = json.loads(path.read_text())
    if kept["machine"] != facts():
        raise SystemExit(f"{path}: was measured on another machine or with other versions; move it away to start anew")
    return kept


def row_of(name: str) -> ModelFacts:
    """A network's row of the catalogue."""
    found = [row for row in list_models() if row.id == name]
    if not found:
        raise SystemExit(f"there is no network '{name}'; see `cristae models list`")
    return found[0]


def shape_of(one: ModelFacts, device: str) -> dict[str, Any]:
    """The batch that a network is measured with, and what it costs."""
    return {
        "batch": batch_of(one, device),
        "channels": one.in_channels,
        "image_size": list(one.image_size),
        "parameters": one.parameters,
        "gflop_per_image": one.gflop,
    }


def batch_of(one: ModelFacts, device: str) -> int:
    """Images at once."""
    voxels = 1
    for side in one.image_size:
        voxels *= side
    many = 1 if device == "cpu" else max(1, min(16, VOXELS_ON_GPU // voxels))
    return max(many, one.smallest_batch)


def measured_apart(one: ModelFacts, mode: str, asked: argparse.Namespace, rates: Mapping[str, float]) -> dict[str, Any]:
    """Figures of one way of running, or why there are none."""
    rate = rates[precision_of(mode, asked.device)]
    limit = STARTUP_S + 4 * asked.budget + (COMPILE_S if mode == "compiled" else 0)
    return child(asked, ["--measure", one.id, mode, "--rate", str(rate)], limit)


def child(asked: argparse.Namespace, arguments: list[str], limit_s: float) -> dict[str, Any]:
    """What a process of this module prints on its last line."""
    command = [sys.executable, "-m", "benchmarks.networks", "--device", asked.device]
    command += ["--threads", str(asked.threads), "--budget", str(asked.budget), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return {"skipped": f"stopped after {limit_s:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"skipped": f"ended with {done.returncode}: {last}"[:300]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def precision_of(mode: str, device: str) -> str:
    """What a way of running multiplies."""
    return "bfloat16" if mode == "bf16" or (mode == "compiled" and device == "cuda") else "float32"


def convolution_rates(device: str) -> dict[str, float]:
    """GFLOP a second of the best of a few large convolutions, by precision."""
    many = 1 if device == "cpu" else 16
    shapes = [((64, 256, 256), 2), ((256, 128, 128), 2), ((512, 64, 64), 2), ((64, 16, 64, 64), 3)]
    found: dict[str, float] = {}
    for precision in ("float32", "bfloat16"):
        for (channels, *size), ndim in shapes:
            kind = nn.Conv2d if ndim == 2 else nn.Conv3d
            layout = torch.channels_last if ndim == 2 else torch.channels_last_3d
            convolution = kind(channels, channels, 3, padding=1, bias=False).to(device, getattr(torch, precision))
            image = torch.rand(many, channels, *size, device=device, dtype=convolution.weight.dtype)
            flop = 2 * image.numel() * channels * 3**ndim
            for form in (torch.contiguous_format, layout):
                convolution, given = convolution.to(memory_format=form), image.contiguous(memory_format=form)
                with torch.inference_mode():
                    taken = min(timed(lambda c=convolution, i=given: c(i), device, rounds=5, limit_s=5.0)[0])
                found[precision] = max(found.get(precision, 0.0), round(flop / taken / 1e9, 1))
    return found


def measure(one: ModelFacts, mode: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Times and peaks of a prediction and a training step in this process."""
    keep_large_buffers()
    device, batch = asked.device, batch_of(one, asked.device)
    gflop = one.gflop * batch
    expected_s = gflop / asked.rate
    if expected_s > asked.budget:
        return {"skipped": f"one prediction takes at least {expected_s:.1f} s, the budget is {asked.budget:g} s"}
    before = held_bytes(device)
    try:
        torch.manual_seed(0)
        network = network_config(one.name, one.options).build(one.in_channels, one.out_channels).to(device)
    except NetworkError as error:
        return {"skipped": str(error)}
    image = torch.rand(batch, one.in_channels, *one.image_size, device=device)
    if mode != "eager":
        layout = torch.channels_last if one.ndim == 2 else torch.channels_last_3d
        network, image = network.to(memory_format=layout), image.contiguous(memory_format=layout)
    network = torch.compile(network) if mode == "compiled" else network
    found: dict[str, Any] = {}
    for name, factor, act in (("forward", 1, prediction), ("training", 3, training_step)):
        if found and 3 * found["forward_s"] > asked.budget:
            found["training_skipped"] = f"a step takes about {3 * found['forward_s']:.0f} s"
            break
        try:
            step = act(network, image, autocast(device, precision_of(mode, device)))
            if mode == "compiled":
                found[f"{name}_compile_s"] = round(seconds(step, device), 1)
            times, first_s = timed(step, device, rounds=ROUNDS, limit_s=asked.budget / 2)
        except torch.OutOfMemoryError:
            found[f"{name}_skipped"] = "out of memory"
            break
        taken = statistics.median(times)
        found[f"{name}_s"] = round(taken, 6)
        found[f"{name}_rounds"] = len(times)
        found[f"{name}_first_s"] = round(first_s, 3)
        found[f"{name}_share"] = round(factor * gflop / taken / asked.rate, 3)
        found[f"{name}_peak_mib"] = round((most_bytes(device) - before) / 2**20)
    return found


def autocast(device: str, precision: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """What a pass runs in."""
    if precision == "float32":
        return contextlib.nullcontext
    return lambda: torch.autocast(device, torch.bfloat16)


def prediction(
    network: nn.Module, image: Tensor, precision: Callable[[], contextlib.AbstractContextManager[Any]]
) -> Callable[[], None]:
    """One pass without gradients."""
    network.eval()

    def step() -> None:
        with torch.inference_mode(), precision():
            network(image)

    return step


def training_step(
    network: nn.Module, image: Tensor, precision: Callable[[], contextlib.AbstractContextManager[Any]]
) -> Callable[[], None]:
    """Forward, backward and update; the loss is cheap, so that the network is what is measured."""
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        with precision():
            output = network(image)
        heads = output if isinstance(output, tuple) else (output,)
        torch.stack([head.float().square().mean() for head in heads]).sum().backward()
        optimizer.step()

    return step


def timed(step: Callable[[], Any], device: str, *, rounds: int, limit_s: float) -> tuple[list[float], float]:
    """Seconds of each of some rounds, as many as fit; and of the first, which is not among them unless it is alone."""
    first = seconds(step, device)
    times: list[float] = []
    while len(times) < rounds and (sum(times) + first < limit_s or not times):
        if not times and first > limit_s:
            return [first], first
        times.append(seconds(step, device))
    return times, first


def seconds(step: Callable[[], Any], device: str) -> float:
    """How long a step takes."""
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / 1e3
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def held_bytes(device: str) -> int:
    """What the process holds without the network; on a GPU that is nothing."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0
    return peak_bytes()


def most_bytes(device: str) -> int:
    """The most memory so far."""
    return int(torch.cuda.max_memory_allocated()) if device == "cuda" else peak_bytes()


HEADER = (
    "| network | batch | GFLOP | mode | prediction, ms | of the machine | memory, MiB "
    "| training step, ms | of the machine | memory, MiB |\n|---|---|---:|---|---:|---:|---:|---:|---:|---:|"
)


def table(figures: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    rates = ", ".join(f"{rate:,.0f} GFLOP/s in {name}" for name, rate in figures["gflop_per_second"].items())
    lines = [f"Large convolutions reach {rates} on this machine ({figures['device']}).\n", HEADER]
    for name, row in figures["networks"].items():
        size = "x".join(map(str, (row["batch"], row["channels"], *row["image_size"])))
        for mode, found in row["modes"].items():
            cells = [f"`{name}`", size, f"{row['gflop_per_image'] * row['batch']:,.1f}", mode]
            lines.append(f"| {' | '.join([*cells, *pass_cells(found, 'forward'), *pass_cells(found, 'training')])} |")
    return "\n".join(lines) + "\n"


def pass_cells(found: Mapping[str, Any], name: str) -> tuple[str, str, str]:
    """Milliseconds, share and memory, or why there are none."""
    if f"{name}_s" not in found:
        return str(found.get("skipped") or found.get(f"{name}_skipped", "")), "", ""
    return (
        f"{1e3 * found[f'{name}_s']:,.1f}",
        f"{100 * found[f'{name}_share']:.0f} %",
        f"{found[f'{name}_peak_mib']:,}",
    )


if __name__ == "__main__":
    main()
