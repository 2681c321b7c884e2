"""Options of a training run, in a module that needs no training library."""

from dataclasses import dataclass

from acdc_medsam.errors import ConfigError


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run, with the same defaults as the keys of ``train`` in ``config.yaml``.

    Attributes:
        epochs: The number of passes over the training slices.
        learning_rate: The peak learning rate of AdamW.
        seed: The seed of the order of slices and of everything that is drawn.
        patients: The number of patients to train on; None for all, see :mod:`acdc_medsam.train.budget`.
        batch_size: The number of slices in a batch. Few slices teach more in small batches, see docs/training.md.
        box_jitter: The largest distance by which each side of a box is moved, in pixels of 1024.
    """

    epochs: int = 30
    learning_rate: float = 3e-4
    seed: int = 2026
    patients: int | None = None
    batch_size: int = 1
    box_jitter: float = 20.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.box_jitter < 0 or not 0 < self.learning_rate < 1:
            raise ConfigError(
                "train: epochs and batch_size must be 1 or more, box_jitter 0 or more, learning_rate between 0 and 1"
            )
        if self.patients is not None and self.patients < 1:
            raise ConfigError(f"train.patients: {self.patients} given; expected a whole number, 1 or more, or null")
