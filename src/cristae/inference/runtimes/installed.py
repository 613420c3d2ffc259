"""Which runtimes can take the place of PyTorch on a CPU here, and what keeps one from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

from torch import device, nn

from cristae.errors import RunError
from cristae.inference.arrays import ArrayModel
from cristae.inference.config import Precision, Runtime
from cristae.words import listed

_PACKAGES: dict[Runtime, tuple[str, ...]] = {
    "torch": (),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
}
"""What each needs besides PyTorch; the last one is the runtime itself."""
_ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")


def package_of(runtime: Runtime) -> str:
    """The package that computes, whose version matters."""
    return _PACKAGES[runtime][-1] if _PACKAGES[runtime] else "torch"


def runtimes_here() -> tuple[Runtime, ...]:
    """Those that can be used in this process, PyTorch first."""
    return tuple(runtime for runtime in _PACKAGES if _hindrance(runtime) is None)


def about_runtimes() -> str:
    """Which can be used in this process, and what the others need."""
    others = [hindrance for runtime in _PACKAGES if (hindrance := _hindrance(runtime)) is not None]
    return "; ".join([f"predictions on the CPU can be computed by {listed(runtimes_here())}", *others])


def require_runtime(runtime: Runtime, on: device, precision: Precision, networks: Sequence[nn.Module]) -> None:
    """Make sure that a runtime can do what is asked for.

    Args:
        runtime: Which.
        on: The device chosen.
        precision: Of the recipe.
        networks: What it is to compute.

    Raises:
        RunError: It cannot; says what to do.
    """
    if runtime == "torch":
        return
    hindrance = _hindrance(runtime)
    if hindrance is not None:
        raise RunError(f"runtime: {hindrance}, or take torch, the default")
    if on.type != "cpu":
        raise RunError(
            f"runtime: {runtime} predicts on the CPU, but the run takes the device '{on.type}' here; set device: cpu "
            "in its recipe.yaml, or take torch, the default"
        )
    if precision != "fp32":
        raise RunError(
            f"runtime: {runtime} computes in fp32, but the run's predict.precision is {precision}; set it to fp32 in "
            "its recipe.yaml, or take torch, the default"
        )
    if any(isinstance(network, ArrayModel) for network in networks):
        raise RunError(f"runtime: {runtime} takes networks, and a random forest is none; take torch, the default")


def _hindrance(runtime: Runtime) -> str | None:
    """What is in the way of a runtime in this process, and what to do about it."""
    missing = [name for name in _PACKAGES[runtime] if find_spec(name) is None]
    if missing:
        return f"{runtime} needs {missing[0]}, which is not installed; `pip install 'cristae[{runtime}]'`"
    loaded = next((name for name in _ALLOCATORS if name in os.environ.get("LD_PRELOAD", "")), None)
    if runtime == "openvino" and loaded is not None:
        return f"openvino aborts in a process that preloads {loaded}; start without it in LD_PRELOAD"
    return None
