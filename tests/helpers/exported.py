"""The exports of a small dataset, made without Snakemake."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.raw_nifti import read_patient
from acdc_medsam.exports.folder import Published
from acdc_medsam.exports.registry import LAYOUTS
from acdc_medsam.formats.files import read_table, sha256_file
from small_dataset import SmallDataset

SHARDED = ("webdataset", "zarr")
"""Layouts with several slices in a file."""


def write_cine(patient: Path) -> Path:
    """Write the cine of a patient's raw folder, 40 ms a frame: from ED to ES and two frames more, as integers."""
    ed, es = read_patient(patient).frames
    first, last = (nib.load(frame.image) for frame in (ed, es))
    ends = [np.asanyarray(image.dataobj) for image in (first, last)]
    shares = np.clip((np.arange(1, es.number + 3) - ed.number) / (es.number - ed.number), 0, 1)
    voxels = np.stack([np.rint(ends[0] + share * (ends[1] - ends[0])) for share in shares], axis=-1)

    header = first.header.copy()
    header.set_data_shape(voxels.shape)
    header.set_zooms((*first.header.get_zooms(), 40))
    header.set_xyzt_units("mm", "msec")
    path = patient / f"{patient.name}_4d.nii.gz"
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), first.affine, header, dtype=np.int16), path)
    return path


class Exports:
    """The exports of a small dataset."""

    def __init__(self, small: SmallDataset, raw: Path) -> None:
        self.small, self.raw = small, raw
        self.volumes = [path for patient in find_cohort(raw).patients for path in patient.sources[1:]]
        self.digests = {str(path): sha256_file(path) for path in self.volumes}
        self.cines: list[Path] = []

    @property
    def rows(self) -> list[dict[str, str]]:
        return read_table(self.small.data / "manifest.tsv")

    def folder(self, name: str) -> Path:
        return self.small.output / "data/exports" / LAYOUTS[name].folder

    def index(self, name: str) -> Path:
        return self.small.work / "exports" / f"{name}.tsv"

    def add_cine(self, patient: str) -> Path:
        """Give a patient a cine, and return its path."""
        self.cines.append(write_cine(next(self.raw.glob(f"*/{patient}"))))
        return self.cines[-1]

    def _cine_digests(self) -> dict[str, str]:
        """Digests of the cines and of their patients' single frames."""
        singles = [path for cine in self.cines for path in read_patient(cine.parent).images]
        return {str(path): sha256_file(path) for path in (*self.cines, *singles)}

    def make(self, name: str, link: str = "auto", **changes: object) -> Path:
        """Make an export and return its folder; ``changes`` are other values of its options."""
        if name == "zarr":
            pytest.importorskip("zarr", reason="zarr is not installed; `make test` installs it")
        published = Published(self.small.data / "manifest.tsv", self.small.index)
        volumes = {str(path): self.digests[str(path)] for path in self.volumes}
        values = {"volumes": volumes, "cines": self._cine_digests(), "percentile": 99}
        values |= {"link": link, "seed": 1, "dtype": "float16", **changes}
        options = {option: values[option] for option in LAYOUTS[name].options}
        if name in SHARDED:
            options["shard_slices"] = 3  # several shards for few slices
        LAYOUTS[name].export(published, self.folder(name), self.index(name), **options)
        return self.folder(name)
