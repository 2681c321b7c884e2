"""The exports of a small dataset, made without Snakemake."""

from pathlib import Path

import pytest

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.exports.folder import Published
from acdc_medsam.exports.registry import LAYOUTS
from acdc_medsam.formats.files import read_table, sha256_file
from small_dataset import SmallDataset

SHARDED = ("webdataset", "zarr")
"""Layouts with several slices in a file."""


class Exports:
    """The exports of a small dataset."""

    def __init__(self, small: SmallDataset, raw: Path) -> None:
        self.small, self.raw = small, raw
        self.volumes = [path for patient in find_cohort(raw).patients for path in patient.sources[1:]]
        self.digests = {str(path): sha256_file(path) for path in self.volumes}

    @property
    def rows(self) -> list[dict[str, str]]:
        return read_table(self.small.data / "manifest.tsv")

    def folder(self, name: str) -> Path:
        return self.small.output / "data/exports" / LAYOUTS[name].folder

    def index(self, name: str) -> Path:
        return self.small.work / "exports" / f"{name}.tsv"

    def make(self, name: str, link: str = "auto", **changes: object) -> Path:
        """Make an export and return its folder; ``changes`` are other values of its options."""
        if name == "zarr":
            pytest.importorskip("zarr", reason="zarr is not installed; `make test` installs it")
        published = Published(self.small.data / "manifest.tsv", self.small.index)
        volumes = {str(path): self.digests[str(path)] for path in self.volumes}
        values = {"volumes": volumes, "link": link, "seed": 1, "dtype": "float16", **changes}
        options = {option: values[option] for option in LAYOUTS[name].options}
        if name in SHARDED:
            options["shard_slices"] = 3  # several shards for few slices
        LAYOUTS[name].export(published, self.folder(name), self.index(name), **options)
        return self.folder(name)
