"""A small published dataset, made by the stages' own functions without Snakemake and without an encoder's weights."""

from pathlib import Path

import torch

from acdc_medsam.card import write_card
from acdc_medsam.checks import Expectations
from acdc_medsam.cohort import find_cohort
from acdc_medsam.encoders.registry import fingerprint
from acdc_medsam.files import index_row, read_table, write_index
from acdc_medsam.normalize import normalize_patient
from acdc_medsam.provenance import Indexes, write_provenance
from acdc_medsam.publish import Sources, publish_dataset
from acdc_medsam.render import render_patient
from acdc_medsam.split import split_dataset
from acdc_medsam.store import EMBEDDING_COLUMNS, EMBEDDING_SHAPE, embedding_digest, save_tensor, store_path
from acdc_medsam.verify import verify_dataset

SIZE = 64
WEIGHTS = "0" * 64
ENCODER = fingerprint("lite_medsam", WEIGHTS, "float32")
CARD = Path(__file__).parents[2] / "workflow/report/card.md.j2"


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
            digest = embedding_digest(ENCODER, row["pixels_sha256"])
            path = store_path(self.work / "embeddings" / "store", digest)
            sha256 = save_tensor(torch.randn(EMBEDDING_SHAPE, generator=random), path)
            lines.append(index_row(path, table, sha256, slice=row["slice"], digest=digest, encoder=ENCODER))
        write_index(table, lines, EMBEDDING_COLUMNS, sources={"weights.pth": WEIGHTS})
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

    def expectations(self, **changes: object) -> Expectations:
        """What the dataset was made to be."""
        asked = {"size": SIZE, "keep_empty": False, "unit": "patient", "validation": 0.2}
        return Expectations(**{**asked, "stratify": True, "embeddings": True, **changes})  # type: ignore[arg-type]

    def describe(self, embeddings: bool = True, unit: str = "patient") -> None:
        """Run verify, card and provenance; a placeholder stands for the report."""
        expected = self.expectations(embeddings=embeddings, unit=unit)
        quality, manifest = self.data / "quality.json", self.data / "manifest.tsv"
        verify_dataset(self.output, self.index, quality, self.work / "verified.tsv", expected, threads=1)
        names = [self.data / name for name in ("README.md", "croissant.json")]
        encoder = {"name": "lite_medsam" if embeddings else "none", "precision": "float32"}
        split = {"unit": unit, "validation": 0.2, "seed": 2026, "stratify": True}
        settings = {"encoder": encoder["name"], "precision": "float32", "percentile": 99, "size": SIZE, **split}
        write_card(manifest, quality, CARD, *names, settings | {"keep_empty": False})
        (self.data / "report.html").write_text("<!DOCTYPE html>")
        write_provenance(
            indexes=Indexes(
                published=self.index,
                h5=sorted(self.work.glob("h5/*/index.tsv")),
                embeddings=sorted(self.work.glob("embeddings/none/*.tsv")) if embeddings else [],
            ),
            documents=[manifest, quality, self.data / "report.html", *names],
            provenance=self.data / "provenance.json",
            output=self.output,
            configuration={"encoder": encoder, "split": split},
            code={"publish": "0" * 64},
            project=self.output,
        )
