"""Laws that take minutes: every network learns, compiles and can be exported. Run with `-m slow`."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from network_cases import Small, collect
from torch import Tensor, nn

from cristae.data.box import Box
from cristae.data.synthetic import SyntheticConfig, synthetic_volume

pytestmark = pytest.mark.slow

SMALL, _ = collect()
FIRST = {case.config.name: case for case in reversed(SMALL.values())}
one_per_network = pytest.mark.parametrize("case", FIRST.values(), ids=FIRST)
PATCHES, MOST_STEPS, ENOUGH = 8, 600, 0.95


def build(case: Small) -> nn.Module:
    torch.manual_seed(0)
    return case.config.build(case.in_channels, case.out_channels).eval()


def image_of(case: Small) -> Tensor:
    return torch.rand((2, case.in_channels, *case.size), generator=torch.Generator().manual_seed(1))


@cache
def cells() -> tuple[np.ndarray, np.ndarray]:
    """Grey values about 0 and the mask of the cells."""
    volume = synthetic_volume(SyntheticConfig(shape=(48, 320, 320), seed=3))
    box = Box.of_shape(volume.image.shape)
    image = volume.image.read(box).astype(np.float32)
    return (image - image.mean()) / image.std(), (volume.labels[0].read(box) > 0).astype(np.float32)


def patches(case: Small) -> tuple[Tensor, Tensor]:
    """Eight images (8, C, *S) and the masks of the output patches, (8, 1, *T)."""
    config = case.overfit or case.config
    wanted = case.overfit_size or ((64, 64) if config.ndim == 2 else (8, 48, 48))
    target = config.good_output(wanted)
    size = config.input_size(target)
    grey, mask = cells()
    margin = tuple((a - b) // 2 for a, b in zip(size, target, strict=True))
    channels = config.in_slices
    thick = (1,) * (3 - config.ndim)
    s, t, m = (*thick, *size), (*thick, *target), (0,) * len(thick) + margin
    rng = np.random.default_rng(0)
    images, masks = [], []
    while len(images) < PATCHES:
        high = [n - side for n, side in zip(grey.shape, s, strict=True)]
        z, y, x = (int(rng.integers(0, most + 1)) for most in high)
        inner = mask[z + m[0] : z + m[0] + t[0], y + m[1] : y + m[1] + t[1], x + m[2] : x + m[2] + t[2]]
        if not 0.15 < inner.mean() < 0.85:
            continue
        if channels > 1:
            around = [min(max(z + d, 0), len(grey) - 1) for d in range(-(channels // 2), channels // 2 + 1)]
            images.append(np.stack([grey[k, y : y + s[1], x : x + s[2]] for k in around]))
        else:
            images.append(grey[z : z + s[0], y : y + s[1], x : x + s[2]].reshape(1, *size))
        masks.append(inner.reshape(1, *target))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def dice(network: nn.Module, image: Tensor, mask: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        found = (network(image) > 0).float()
    network.train()
    return float(2 * (found * mask).sum() / (found.sum() + mask.sum()))


@one_per_network
def test_eight_patches_are_learnt(case):
    image, mask = patches(case)
    torch.manual_seed(0)
    network = (case.overfit or case.config).build(image.shape[1], 1).train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.1  # so few steps are not enough for the running statistics of the papers
    optimizer = torch.optim.Adam(network.parameters(), lr=case.learning_rate)
    best = 0.0
    for step in range(1, MOST_STEPS + 1):
        output = network(image)
        logits = output[0] if isinstance(output, tuple) else output
        p = logits.sigmoid()
        overlap = 1 - 2 * (p * mask).sum() / (p.sum() + mask.sum())
        loss = nn.functional.binary_cross_entropy_with_logits(logits, mask) + overlap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            best = max(best, dice(network, image, mask))
            if best >= ENOUGH:
                return
    pytest.fail(f"Dice {best:.3f} after {MOST_STEPS} steps")


@one_per_network
def test_compiled_network_gives_the_same(case):
    network, image = build(case), image_of(case)
    torch.compiler.reset()
    with torch.no_grad():
        expected = network(image)
        found = torch.compile(network)(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@one_per_network
def test_exported_network_gives_the_same(case, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    network, image = build(case), image_of(case)
    if case.onnx is not None:
        with pytest.raises(torch.onnx.OnnxExporterError, match=case.onnx):
            export(network, image, tmp_path / "network.onnx")
        return
    export(network, image, tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        expected = network(image)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def export(network: nn.Module, image: Tensor, path: Path) -> None:
    torch.onnx.export(network, (image,), path, dynamo=True, verbose=False)
