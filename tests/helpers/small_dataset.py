"""A small published dataset, made by the stages' own functions without Snakemake and without an encoder's weights."""

from pathlib import Path

import torch

from acdc_medsam.checks import Expectations
from acdc_medsam.cohort import find_cohort
from acdc_medsam.files import index_row, read_table, write_index
from acdc_medsam.measure import measure_dataset
from acdc_medsam.normalize import normalize_patient
from acdc_medsam.publish import Sources, publish_dataset
from acdc_medsam.render import render_patient
from acdc_medsam.split import split_dataset
from acdc_medsam.store import EMBEDDING_COLUMNS, EMBEDDING_SHAPE, embedding_digest, save_tensor, store_path
from acdc_medsam.verify import verify_dataset

SIZE = 64
TEMPLATE = Path(__file__).parents[2] / "workflow/report/page/page.html.j2"


class SmallDataset:
    """Work folder and published dataset of the tiny phantoms, with random embeddings."""

    def __init__(self, folder: Path) -> None:
        self.output = folder
        self.work = folder / "work"
        self.data = folder / "data" / "ACDC"
        self.index = self.work / "published.tsv"

    def make(self, raw: Path) -> None:
        """Run normalize and render on every patient, and write random embeddings."""
        for patient in find_cohort(raw).patients:
            h5, png = (self.work / kind / patient.name for kind in ("h5", "png"))
            normalize_patient(patient.folder, h5 / "index.tsv", 99, on_invalid="stop")
            render_patient(h5 / "index.tsv", png / "index.tsv", png / "slices.tsv", SIZE, keep_empty=False)
        rows = [row for table in self.tables for row in read_table(table)]
        random = torch.Generator().manual_seed(0)
        table = self.work / "embeddings" / "none" / "p001-016.tsv"
        lines = []
        for row in rows:
            digest = embedding_digest("an encoder", row["pixels_sha256"])
            path = store_path(self.work / "embeddings" / "store", digest)
            sha256 = save_tensor(torch.randn(EMBEDDING_SHAPE, generator=random), path)
            lines.append(index_row(path, table, sha256, slice=row["slice"], digest=digest, encoder="an encoder"))
        write_index(table, lines, EMBEDDING_COLUMNS)
        save_tensor(torch.zeros(1, *EMBEDDING_SHAPE), self.work / "embeddings" / "none" / "pe.pt")

    @property
    def tables(self) -> list[Path]:
        """The patients' tables of slices."""
        return sorted(self.work.glob("png/*/slices.tsv"))

    def publish(self, unit: str = "patient", seed: int = 2026, link: str = "auto", embeddings: bool = True) -> None:
        """Run split and publish."""
        split_dataset(self.tables, self.work / "split.tsv", unit, 0.2, seed, stratify=True)
        folder = self.work / "embeddings" / "none"
        sources = Sources(
            h5=sorted(self.work.glob("h5/*/index.tsv")),
            png=sorted(self.work.glob("png/*/index.tsv")),
            slices=self.tables,
            split=self.work / "split.tsv",
            embeddings=[folder / "p001-016.tsv"] if embeddings else [],
            encoding=folder / "pe.pt" if embeddings else None,
        )
        subsets = {path.parent.name: read_table(path)[0]["subset"] for path in self.tables}
        publish_dataset(sources, subsets, [], self.output, self.data / "manifest.tsv", self.index, link)

    def measure(self, raw: Path, embeddings: bool = True, code: str = "code") -> Path:
        """Run measure; returns the index."""
        index = self.work / "measures" / "index.tsv"
        measure_dataset(
            h5=[self.work / "h5" / path.parent.name / "index.tsv" for path in self.tables],
            slices=self.tables,
            embeddings=[self.work / "embeddings/none/p001-016.tsv"] if embeddings else [],
            raw=[path for path in raw.rglob("*.nii.gz") if "_gt" not in path.name],
            index=index,
            code=code,
            threads=2,
        )
        return index

    def report(self, raw: Path, unit: str = "patient", embeddings: bool = True) -> str:
        """Run publish, verify, measure and report; returns the page."""
        from acdc_medsam.report import page  # imports matplotlib, which other tests need not wait for

        self.publish(unit=unit, embeddings=embeddings)
        quality = self.data / "quality.json"
        expected = self.expectations(unit=unit, embeddings=embeddings)
        verify_dataset(self.output, self.index, quality, self.work / "verified.tsv", expected, threads=1)
        sources = page.Sources(
            manifest=self.data / "manifest.tsv",
            quality=quality,
            measures=self.measure(raw, embeddings),
            published=self.index,
            embeddings=[self.work / "embeddings/none/p001-016.tsv"] if embeddings else [],
            benchmarks=self.work / "benchmarks",
            template=TEMPLATE,
        )
        encoder = "lite_medsam" if embeddings else "none"
        settings = {"encoder": encoder, "precision": "float32", "unit": unit, "validation": 0.2, "seed": 2026}
        page.write_report(sources, self.data / "report.html", settings, threads=2)
        return (self.data / "report.html").read_text(encoding="utf-8")

    def expectations(self, **changes: object) -> Expectations:
        """What the dataset was made to be."""
        asked = {"size": SIZE, "keep_empty": False, "unit": "patient", "validation": 0.2}
        return Expectations(**{**asked, "stratify": True, "embeddings": True, **changes})  # type: ignore[arg-type]
