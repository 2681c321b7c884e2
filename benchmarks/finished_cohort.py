"""A finished cohort with embeddings, made by the functions of the stages without Snakemake."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from acdc_medsam.encoders.store import EMBEDDING_COLUMNS, Maker, embedding_digest, maker_name, store_path
from acdc_medsam.formats.files import read_sealed
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.kept import find_kept, keep
from acdc_medsam.formats.tensors import save_tensor, tensor_bytes
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.phantom.cohort import write_patient
from acdc_medsam.stages.normalize import normalize_patient
from acdc_medsam.stages.publish import PublishSources, publish_dataset
from acdc_medsam.stages.render import render_patient
from acdc_medsam.stages.split import split_dataset
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.verify.checks import Expectations
from acdc_medsam.verify.run import verify_dataset
from cohort import make_phantoms

MAKER = Maker("lite_medsam", weights="0" * 64, precision="float32", device="cpu", code="benchmark")


class Cohort:
    """A finished cohort: raw files, results of the stages, and the published dataset."""

    def __init__(self, folder: Path) -> None:
        self.raw = folder / "raw"
        self.out = folder / "out"
        self.work = self.out / "work"
        self.data = self.out / "data/ACDC"
        self.embeddings = self.work / "embeddings/lite_medsam/p001-999.tsv"
        self.encoding = self.embeddings.with_name("positional_encoding.tsv")
        self.page = self.data / "report.html"

    def make(self, patients: int) -> None:
        """Run all stages up to verification, unless an earlier call has done so."""
        if (self.data / "quality.json").exists():
            return
        shutil.copytree(make_phantoms(patients) / "training", self.raw / "training")
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.render, sorted(path.name for path in (self.raw / "training").iterdir())))
        self.finish()

    def render(self, patient: str) -> None:
        """Make the H5 files and the images of a patient."""
        h5 = self.work / "h5" / patient / "index.tsv"
        png = self.work / "png" / patient / "index.tsv"
        normalize_patient(self.raw / "training" / patient, h5, 99, on_invalid="stop")
        render_patient(h5, png, png.with_name("slices.tsv"), 1024, keep_empty=False)

    def replace(self, patient: str, seed: int) -> None:
        """Replace a patient's raw files, and run all stages for it."""
        folder = self.raw / "training" / patient
        shutil.rmtree(folder)
        write_patient(folder.parent, int(patient.removeprefix("patient")), seed=seed)
        self.render(patient)
        self.finish()

    def finish(self) -> None:
        """Write the embeddings that are missing, publish and verify."""
        self._embed()
        slices = sorted(self.work.glob("png/*/slices.tsv"))
        split_dataset(slices, self.work / "split.tsv", SplitRule())
        sources = PublishSources(
            h5=sorted(self.work.glob("h5/*/index.tsv")),
            png=sorted(self.work.glob("png/*/index.tsv")),
            slices=slices,
            split=self.work / "split.tsv",
            embeddings=[self.embeddings],
            encoding=self.encoding,
        )
        subsets = {path.parent.name: "training" for path in slices}
        published = self.work / "published.tsv"
        publish_dataset(sources, subsets, [], self.out, self.data / "manifest.tsv", published, "auto")
        expected = Expectations(1024, keep_empty=False, embeddings=True, split=SplitRule())
        verified = self.work / "verified.tsv"
        verify_dataset(self.out, published, self.data / "quality.json", verified, expected, threads=2)

    def _embed(self) -> None:
        """Write a random embedding for each image that has none yet, and the table of all embeddings."""
        facts = MAKER.facts()
        maker = maker_name(facts)
        rows = []
        for row in (row for table in sorted(self.work.glob("png/*/slices.tsv")) for row in read_sealed(table)):
            digest = embedding_digest(MAKER.fingerprint, row["pixels_sha256"])
            path = store_path(self.work / "embeddings/store", digest)
            random = torch.Generator().manual_seed(int(digest[:8], 16))
            kept = find_kept(path) or keep(path, tensor_bytes(torch.randn(EMBEDDING_SHAPE, generator=random)), facts)
            columns = {"slice": row["slice"], "digest": digest, "encoder": MAKER.fingerprint, "maker": maker}
            rows.append(index_row(kept.written, self.embeddings, **columns))
        write_index(self.embeddings, rows, EMBEDDING_COLUMNS, makers={maker: facts})
        pe = save_tensor(torch.zeros(1, *EMBEDDING_SHAPE), self.encoding.with_name("pe.pt"))
        write_index(self.encoding, [index_row(pe, self.encoding)])
