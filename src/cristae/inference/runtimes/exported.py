"""A network as an ONNX model, for runtimes that know no PyTorch."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

IMAGE = "image"
"""Name of the model's input."""
_LOGITS = "logits"
Exporter = Callable[[nn.Module, Sequence[int], Sequence[int]], bytes]
"""A network, the shape of an image and the axes whose sizes vary, to an ONNX model; see `_traced`."""


def exporters() -> tuple[Exporter, ...]:
    """Ways to write a network down, the quicker one first. Either may fail, or give what holds for one size only."""
    return _traced, _followed


def _traced(network: nn.Module, shape: Sequence[int], dynamic: Sequence[int]) -> bytes:
    """From the operations of one pass: half a second.

    Args:
        network: On the CPU, in evaluation.
        shape: Shape (B, C, *S) of an image, B at least 2.
        dynamic: Axes of image and logits whose sizes may be others.
    """
    written: Any = io.BytesIO()  # which the exporter takes, but does not say
    axes = {name: {axis: f"{name}_{axis}" for axis in dynamic} for name in (IMAGE, _LOGITS)}
    with _quiet():
        torch.onnx.export(
            network,
            (torch.zeros(tuple(shape)),),
            written,
            input_names=[IMAGE],
            output_names=[_LOGITS],
            dynamic_axes=axes,
            dynamo=False,
        )
    model: bytes = written.getvalue()
    return model


def _followed(network: nn.Module, shape: Sequence[int], dynamic: Sequence[int]) -> bytes:
    """From its code, which takes many seconds; arguments as for `_traced`."""
    sizes = dict.fromkeys(dynamic, torch.export.Dim.DYNAMIC)
    with _quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(tuple(shape)),),
            input_names=[IMAGE],
            output_names=[_LOGITS],
            dynamic_shapes=(sizes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "the exporter that follows code gives a program"
    written: bytes = program.model_proto.SerializeToString()
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks: what they give is compared with the network."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
