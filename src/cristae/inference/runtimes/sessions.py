"""Networks in other runtimes than PyTorch: exported once in a process, and compared with the network before use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import nn

from cristae.errors import RunError
from cristae.inference.config import Runtime
from cristae.inference.predictor import Member, Session
from cristae.inference.runtimes.exported import Exporter, exporters
from cristae.inference.runtimes.onnx_runtime import OnnxRuntime
from cristae.inference.runtimes.openvino import OpenVino

_TOLERANCE = 1e-3
"""Difference of logits, over the largest of them, from which on an exported network is taken for another one."""
_SESSIONS: WeakKeyDictionary[nn.Module, dict[Runtime, Session]] = WeakKeyDictionary()


def sessions_of(runtime: Runtime) -> Callable[[Member], Session] | None:
    """What computes members' logits in a runtime; None for PyTorch, which takes the networks themselves."""
    return None if runtime == "torch" else partial(session_of, runtime=runtime)


def session_of(member: Member, runtime: Runtime, *, patient: bool = True) -> Session:
    """The member's network in a runtime.

    Args:
        member: A network and the sizes that it works at.
        runtime: Other than PyTorch.
        patient: Whether to try what takes many seconds, too.

    Raises:
        RunError: It cannot be exported, or gives something else there.
    """
    sessions = _SESSIONS.setdefault(member.network, {})
    if runtime not in sessions:
        sessions[runtime] = _begun(member, runtime, exporters() if patient else exporters()[:1])
    return sessions[runtime]


def _begun(member: Member, runtime: Runtime, ways: Sequence[Exporter]) -> Session:
    network, (first, second) = member.network, _sizes(member)
    dynamic = (0, *range(2, len(first))) if member.windows is None else (0,)
    training = [module for module in network.modules() if module.training]
    network.eval()
    problems = []
    try:
        for export in ways:
            try:
                session = (OnnxRuntime if runtime == "onnx" else OpenVino)(export(network, first, dynamic))
                difference = _difference(network, session, second)
            except Exception as error:  # exporters and runtimes raise whatever they like
                problems.append(str(error).strip().partition("\n")[0] or type(error).__name__)
                continue
            if difference < _TOLERANCE:
                return session
            problems.append(f"logits differ by {difference:.1e} of the largest")
    finally:
        for module in training:
            module.training = True
    raise RunError(
        f"runtime: the network ({type(network).__name__}) cannot be used with {runtime}; take torch, the default. "
        f"Exporting it failed: {'; and in another way: '.join(problems)}"
    )


def _sizes(member: Member) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape to export with, and another one, both (B, C, *S), that the network may get."""
    where = member.locality
    if member.windows is not None:
        _, *rest = member.input_shape(member.windows.size)
        return (2, *rest), (1, *rest)
    flat = where.ndim == 2
    one, other = (
        (
            1 if flat else where.good_side(0, strides[0] * where.stride[0]),
            where.good_side(1, strides[1] * where.stride[1]),
            where.good_side(2, strides[2] * where.stride[2]),
        )
        for strides in ((2, 2, 3), (3, 4, 3))
    )
    return (2, *member.input_shape(one)[1:]), member.input_shape(other)


@torch.inference_mode()
def _difference(network: nn.Module, session: Session, shape: tuple[int, ...]) -> float:
    """How much logits of a random image differ, over the largest of them."""
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = network(image)
    return float((session(image) - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
