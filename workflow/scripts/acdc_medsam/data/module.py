"""The dataset as a Lightning data module."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from acdc_medsam.data.slices import ItemOptions, SliceDataset, SliceItem, seeded


class Shuffled(Sampler[int]):
    """A shuffled order that is the same each time it is asked for: Lightning may ask once or twice for an epoch."""

    def __init__(self, count: int, *seed: object) -> None:
        """Shuffle so many items by what the seed's parts say."""
        self.order: list[int] = torch.randperm(count, generator=seeded(*seed)).tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


class DataModule(pl.LightningDataModule):
    """Loaders of the splits of a dataset.

    The order of training slices and what is drawn for each depend on seed and epoch alone, so a run that goes on after
    a crash sees what it would have seen. The trainer must ask for its loader anew in each epoch
    (``reload_dataloaders_every_n_epochs=1``). Validation and test draw nothing: boxes are tight.
    """

    def __init__(
        self, root: str | Path, options: ItemOptions | None = None, batch_size: int = 4, workers: int = 0
    ) -> None:
        """Remember what to load.

        Args:
            root: folder of the dataset, such as ``data/ACDC``.
            options: what an item holds.
            batch_size: slices in a batch.
            workers: processes that load; 0 loads in the process itself.
        """
        super().__init__()
        self.root, self.options = Path(root), options or ItemOptions()
        self.batch_size, self.workers = batch_size, workers

    def train_dataloader(self) -> DataLoader[SliceItem]:
        """Slices of ``train``, in an order of their own in each epoch."""
        dataset = SliceDataset(self.root, "train", self.options)
        dataset.epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader(dataset, Shuffled(len(dataset), self.options.seed, dataset.epoch, "order"))

    def val_dataloader(self) -> DataLoader[SliceItem]:
        """Slices of ``val``, in the manifest's order."""
        return self._loader(SliceDataset(self.root, "val", replace(self.options, box_jitter=0)))

    def test_dataloader(self) -> DataLoader[SliceItem]:
        """Slices of ``test``, in the manifest's order."""
        return self._loader(SliceDataset(self.root, "test", replace(self.options, box_jitter=0)))

    def _loader(self, dataset: SliceDataset, order: Shuffled | None = None) -> DataLoader[SliceItem]:
        return DataLoader(
            dataset,
            self.batch_size,
            sampler=order,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )
