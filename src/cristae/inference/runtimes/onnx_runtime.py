"""A network in ONNX Runtime, on the CPU in float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cristae.inference.runtimes.exported import IMAGE


class OnnxRuntime:
    """Maps an image (B, C, *S) to logits (B, K, *T)."""

    def __init__(self, model: bytes) -> None:
        """Take an ONNX model; it works with as many threads as PyTorch has now."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_cpu_mem_arena = False  # what a pass has used is free for the next, whatever its size
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # readers and writers work beside it
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, image: Tensor) -> Tensor:
        """Logits in float32."""
        (logits,) = self._session.run(None, {IMAGE: np.ascontiguousarray(image.numpy())})
        return torch.from_numpy(logits)
