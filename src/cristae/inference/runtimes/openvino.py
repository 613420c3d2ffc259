"""A network in OpenVINO, on the CPU in float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class OpenVino:
    """Maps an image (B, C, *S) to logits (B, K, *T)."""

    def __init__(self, model: bytes) -> None:
        """Take an ONNX model; it works with as many threads as PyTorch has now."""
        import openvino

        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # by default bf16, where the processor has it
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        self._request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()

    def __call__(self, image: Tensor) -> Tensor:
        """Logits in float32."""
        found = self._request.infer([np.ascontiguousarray(image.numpy())], share_inputs=True)
        return torch.from_numpy(found[0])
