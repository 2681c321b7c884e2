"""The dataset as a Lightning data module."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from acdc_medsam.data.assignment import AS_PUBLISHED, Assignment
from acdc_medsam.data.slices import ItemOptions, SliceDataset, SliceItem, make_generator


class SeededSampler(Sampler[int]):
    """A shuffled order that stays the same however often Lightning asks for it within an epoch."""

    def __init__(self, count: int, *seed: object) -> None:
        """Shuffle the indices from 0 to ``count - 1``.

        Args:
            count: The number of items.
            seed: Everything that the order depends on.
        """
        self.order: list[int] = torch.randperm(count, generator=make_generator(*seed)).tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


class DataModule(pl.LightningDataModule):
    """Data loaders for the splits of a dataset.

    The order of the training slices and everything drawn for them depend on the seed and the epoch alone, so a resumed
    run sees what an uninterrupted run would have seen. The trainer must request a new loader for each epoch
    (``reload_dataloaders_every_n_epochs=1``). Nothing is drawn for validation and test: their boxes are tight.
    """

    def __init__(
        self,
        root: str | Path,
        options: ItemOptions | None = None,
        batch_size: int = 4,
        workers: int = 0,
        assignment: Assignment = AS_PUBLISHED,
    ) -> None:
        """Store what to load.

        Args:
            root: The folder of the dataset, such as ``data/ACDC``.
            options: The content of an item.
            batch_size: The number of slices in a batch.
            workers: The number of processes that load; with 0 the main process loads.
            assignment: Which slices belong to which split.
        """
        super().__init__()
        self.root = Path(root)
        self.options = options or ItemOptions()
        self.batch_size = batch_size
        self.workers = workers
        self.assignment = assignment

    def train_dataloader(self) -> DataLoader[SliceItem]:
        """Slices of ``train``, in a different order in each epoch."""
        dataset = SliceDataset(self.root, "train", self.options, self.assignment)
        dataset.epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader(dataset, SeededSampler(len(dataset), self.options.seed, dataset.epoch, "order"))

    def val_dataloader(self) -> DataLoader[SliceItem]:
        """Slices of ``val``, in the order of the manifest."""
        return self._loader(SliceDataset(self.root, "val", replace(self.options, box_jitter=0), self.assignment))

    def test_dataloader(self) -> DataLoader[SliceItem]:
        """Slices of ``test``, in the order of the manifest."""
        return self._loader(SliceDataset(self.root, "test", replace(self.options, box_jitter=0), self.assignment))

    def _loader(self, dataset: SliceDataset, sampler: SeededSampler | None = None) -> DataLoader[SliceItem]:
        return DataLoader(
            dataset,
            self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            # Pinned memory is copied faster to a GPU.
            pin_memory=torch.cuda.is_available(),
        )
