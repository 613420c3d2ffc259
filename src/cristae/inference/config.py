"""How a trained network is applied: the `predict:` section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveInt

from cristae.config import Config
from cristae.errors import RunError
from cristae.inference.emptiness import EmptyRule, checked_rule
from cristae.inference.fusion import Average, Fusion
from cristae.inference.test_time import TestTime
from cristae.postprocessing import Step

Precision = Literal["fp32", "bf16"]
Application = Literal["exact", "gaussian", "centre_third", "farthest", "tiles"]
"""As in one pass over the whole volume, or in windows that are joined by one of the rules of `inference.windows`."""
Backend = Literal["cpu", "cuda", "mps"]
DeviceName = Literal["auto"] | Backend
Runtime = Literal["torch", "onnx", "openvino"]
"""What computes networks: PyTorch, or on a CPU ONNX Runtime or OpenVINO."""
Statistics = Literal["run", "volume"]
"""Whose grey values decide how a volume is normalised where a run uses statistics of its training data."""


@dataclass(frozen=True)
class PredictOptions:
    """How a volume is read, what a prediction keeps, and the memory it may use."""

    probabilities: bool = False
    """Keep 8-bit probabilities beside the labels."""
    max_ram: str | None = None
    """Ceiling for the memory of the process, such as '8GiB', or of all workers of this computer together; workers
    elsewhere have as much each. None takes half of the free memory, or what a queue's jobs are given."""
    max_vram: str | None = None
    """Ceiling on the GPU, likewise; None takes 85 % of what is free there."""
    signed: bool | None = None
    """Whether 8-bit values of an MRC volume are signed, where its header does not say."""
    normalize: Statistics = "run"
    """`volume` finds the range of grey values again on this volume, for runs whose normalisation has that of their
    training data; `run` normalises as the run says."""
    disagreement: bool = False
    """Keep an 8-bit map of how much the members of the ensemble disagree about each voxel."""
    skip_empty: EmptyRule | None = None
    """Blocks that are not shown to the networks, because there is nothing in them: they become background. `constant`:
    all grey values are the same; a number: the largest standard deviation of normalised grey values, over all that
    the networks would be shown for the block."""
    level: int = 0
    """Which level of the volume's pyramid is predicted, for a quick look: 0 is full size. The voxel size that is given,
    the box and the mask are then those of the level."""
    runtime: Runtime = "torch"
    """What computes the networks: on a CPU `onnx` (ONNX Runtime) and `openvino` may be faster than `torch` and give
    the same to rounding; both are extras to install."""

    def __post_init__(self) -> None:
        """Check the words.

        Raises:
            RunError: `normalize` or `runtime` is none that is known, the level is negative, or `skip_empty` is no rule.
        """
        object.__setattr__(self, "skip_empty", checked_rule(self.skip_empty))
        if self.normalize not in get_args(Statistics):
            raise RunError(f"normalize: expected {' or '.join(get_args(Statistics))}, got '{self.normalize}'")
        if self.level < 0:
            raise RunError(f"level: expected 0 for full size, or that of a coarser one, got {self.level}")
        if self.runtime not in get_args(Runtime):
            raise RunError(f"runtime: expected {', '.join(get_args(Runtime))}, got '{self.runtime}'")


class PredictConfig(Config):
    """Settings of prediction that change its result or how it is computed."""

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """A voxel belongs to a sigmoid class when its probability is strictly above this value. Softmax classes take the
    most probable one instead."""
    precision: Precision = "fp32"
    """`fp32` is exact to rounding; `bf16` is faster on recent hardware and changes probabilities by about 0.01."""
    windows: Literal["auto"] | Application = "auto"
    """How the network is applied: `exact`, as in one pass over the whole volume, which needs a network with a bounded
    receptive field; or in windows of the size of the training patches, joined by a rule: `gaussian` (half
    overlapping, averaged), `centre_third`, `farthest` (from the border of the window) or `tiles`. `auto` takes what was
    better on the validation regions where both were tried; else `exact` where it can be, and the rule of the network's
    paper where not."""
    fusion: Fusion = Average()
    """How several runs of the same classes are combined: `average` of their probabilities, `majority` of their labels,
    or `weighted` average with a weight for each run."""
    test_time: TestTime = "none"
    """Test-time augmentation: the network also predicts mirrored and turned copies of the volume, which are turned back
    and averaged before runs are fused. `flips` mirrors y and x (4 times the work), `dihedral` turns slices by quarters,
    too (8 times); `flips_z` and `dihedral_z` (8 and 16 times) also reverse the order of slices, which changes nothing
    for networks that see single slices and is left out there. Validation during training goes without."""
    block_vox: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Largest block (z, y, x) that is written at once; None chooses it from the memory. The result does not depend
    on it beyond rounding."""
    bridge: bool = False
    """Show networks, in the place of sections that are missing, repeated, inverted or blurred, the mean of the good
    ones around them. Five such sections in a row at most are bridged; the volume itself stays as it is."""
    postprocess: tuple[Step, ...] = ()
    """Steps that change the labels when all blocks are predicted, in this order: `threshold`, `remove_small`,
    `fill_holes`, `open`, `close`, and last `split_touching`, `split_at_boundary` or `split_by_affinities`, which number
    objects. A size or threshold may be `auto`: the training chooses it on its validation regions."""
