"""How to train: the options, without what they are used by."""

from dataclasses import dataclass

from acdc_medsam.errors import ConfigError


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        epochs: passes over the training slices.
        learning_rate: the highest one of AdamW.
        seed: of the order of slices and of what is drawn.
        batch_size: slices in a batch.
        box_jitter: each side of a box is moved by up to so many pixels of 1024.
    """

    epochs: int = 50
    learning_rate: float = 3e-4
    seed: int = 2026
    batch_size: int = 4
    box_jitter: float = 20.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.box_jitter < 0 or not 0 < self.learning_rate < 1:
            raise ConfigError(
                "train: epochs and batch_size must be 1 or more, box_jitter 0 or more, learning_rate between 0 and 1"
            )
