"""How a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cristae.config import Config
from cristae.training.validation_config import Criteria, ValidationConfig, WholeValidation

Fraction = Annotated[float, Field(gt=0, lt=1)]


class KerasDecay(Config):
    """SegET's schedule: `lr / (1 + decay * k)` at update k, whose numerator a plateau reducer shrinks."""

    name: Literal["keras"] = "keras"
    decay: NonNegativeFloat = 0.0
    """Decay per update (SegET: 1e-6 or 1e-5)."""
    plateau_factor: Fraction = 0.5
    """What the numerator is multiplied by on a plateau."""
    plateau_patience: PositiveInt | None = 3
    """Epochs without a better validation mIoU that make a plateau; None switches the reducer off."""


class Cosine(Config):
    """A short linear rise, then half a cosine down to zero at the last update."""

    name: Literal["cosine"] = "cosine"
    warmup_updates: NonNegativeInt = 50
    """Updates of the linear rise."""


Schedule = Annotated[KerasDecay | Cosine, Field(discriminator="name")]


class TrainingConfig(Config):
    """Optimiser, schedule, length and precision."""

    epochs: PositiveInt = 30
    """At most this many epochs."""
    batch_size: PositiveInt = 8
    """Patches in one update, over all devices together."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Adam as in Keras (eps 1e-7), or AdamW (decoupled weight decay)."""
    learning_rate: PositiveFloat = 1e-3
    """Initial learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of AdamW."""
    schedule: Schedule = KerasDecay()
    """How the learning rate changes."""
    early_stop_patience: PositiveInt | None = None
    """Stop after this many epochs without a better validation mIoU; None trains all epochs."""
    gradient_clip: PositiveFloat | None = None
    """Clip the gradient's norm to this; None does not clip."""
    start_from: str | None = None
    """A .safetensors file, or a run folder, whose matching tensors the training starts from; null starts from random
    weights."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: mixed precision with bfloat16, weights and losses in float32."""
    devices: PositiveInt = 1
    """How many GPUs (or CPU processes) share each batch; batch_size must be a multiple."""
    reader_threads: NonNegativeInt = 0
    """Threads that read patches ahead; 0 chooses by the number of cores."""
    validation: ValidationConfig = WholeValidation()
    """What is predicted after each epoch to judge it."""
    criteria: Criteria = ("miou",)
    """What epochs are judged by: `loss`, `accuracy`, `auc_roc`, `f1` or `miou` of the validation. The first chooses the
    run's weights and is what plateaus and early stopping watch; of each further one the best weights are kept
    beside."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """What a loss or gradient of NaN or infinity does: `stop` ends the training, `skip` leaves the batch's update out
    and counts it. Either way the batch is saved in the run's folder `nonfinite`."""
    checkpoint_minutes: PositiveFloat = 10.0
    """A checkpoint is written at the end of each epoch, and within epochs whenever this much time has passed."""
