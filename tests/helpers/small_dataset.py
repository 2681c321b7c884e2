"""A small published dataset, made by the functions of the stages, without Snakemake and without encoder weights."""

import json
from pathlib import Path
from typing import Any

import torch

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.card.card import write_card
from acdc_medsam.encoders.store import EMBEDDING_COLUMNS, Maker, embedding_digest, maker_name, store_path
from acdc_medsam.formats.files import Row, read_sealed, write_bytes, write_table
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.formats.kept import keep
from acdc_medsam.formats.png import Gray, RowFilter, write_png
from acdc_medsam.formats.tensors import save_tensor, tensor_bytes
from acdc_medsam.layout import EMBEDDING_SHAPE, SLICE_COLUMNS
from acdc_medsam.measures.run import measure_dataset
from acdc_medsam.provenance.write import Indexes, write_provenance
from acdc_medsam.stages.normalize import normalize_patient
from acdc_medsam.stages.publish import PublishSources, publish_dataset
from acdc_medsam.stages.render import pixels_sha256, render_patient
from acdc_medsam.stages.split import split_dataset
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.verify.checks import Expectations
from acdc_medsam.verify.run import verify_dataset

IMAGE_SIZE = 64
"""Side of the images in pixels."""

WEIGHTS = "0" * 64
"""Sha256 of the weights that the embeddings claim to be made with."""

MAKER = Maker("lite_medsam", WEIGHTS, "float32", "cpu", code="0" * 64)
ENCODER = MAKER.fingerprint
CARD = Path(__file__).parents[2] / "workflow/report/card.md.j2"
TEMPLATE = Path(__file__).parents[2] / "workflow/report/page/page.html.j2"


class SmallDataset:
    """The work folder and the published dataset of the tiny phantoms, with random embeddings."""

    def __init__(self, folder: Path) -> None:
        self.output = folder
        self.work = folder / "work"
        self.data = folder / "data" / "ACDC"
        self.index = self.work / "published.tsv"
        self.embeddings = self.work / "embeddings" / "none" / "p001-016.tsv"
        self.encoding = self.embeddings.with_name("positional_encoding.tsv")

    def make(self, raw: Path) -> None:
        """Run the stages normalize and render on every patient, and write random embeddings."""
        for patient in find_cohort(raw).patients:
            h5 = self.work / "h5" / patient.name
            png = self.work / "png" / patient.name
            normalize_patient(patient.folder, h5 / "index.tsv", 99, on_invalid="stop")
            render_patient(h5 / "index.tsv", png / "index.tsv", png / "slices.tsv", IMAGE_SIZE, keep_empty=False)
        self.embed()
        written = save_tensor(torch.zeros(1, *EMBEDDING_SHAPE), self.embeddings.with_name("pe.pt"))
        write_index(self.encoding, [index_row(written, self.encoding)])

    def embed(self) -> None:
        """Write random embeddings and their table. Equal images have equal embeddings."""
        facts = MAKER.facts()
        maker = maker_name(facts)
        lines = []
        for row in (row for table in self.tables for row in read_sealed(table)):
            digest = embedding_digest(ENCODER, row["pixels_sha256"])
            path = store_path(self.work / "embeddings" / "store", digest)
            random = torch.Generator().manual_seed(int(digest[:8], 16))
            kept = keep(path, tensor_bytes(torch.randn(EMBEDDING_SHAPE, generator=random)), facts)
            columns = {"slice": row["slice"], "digest": digest, "encoder": ENCODER, "maker": maker}
            lines.append(index_row(kept.written, self.embeddings, **columns))

        sources = {"weights.pth": WEIGHTS}
        write_index(self.embeddings, lines, EMBEDDING_COLUMNS, sources=sources, makers={maker: facts})

    @property
    def tables(self) -> list[Path]:
        """The tables of slices of all patients."""
        return sorted(self.work.glob("png/*/slices.tsv"))

    def publish(
        self,
        unit: str = "patient",
        seed: int = 2026,
        link: str = "auto",
        embeddings: bool = True,
        rule: SplitRule | None = None,
    ) -> None:
        """Run the stages split and publish."""
        split_dataset(self.tables, self.work / "split.tsv", rule or SplitRule(unit=unit, seed=seed))
        sources = PublishSources(
            h5=sorted(self.work.glob("h5/*/index.tsv")),
            png=sorted(self.work.glob("png/*/index.tsv")),
            slices=self.tables,
            split=self.work / "split.tsv",
            embeddings=[self.embeddings] if embeddings else [],
            encoding=self.encoding if embeddings else None,
        )
        subsets = {path.parent.name: read_sealed(path)[0]["subset"] for path in self.tables}
        publish_dataset(sources, subsets, [], self.output, self.data / "manifest.tsv", self.index, link)

    def measure(self, raw: Path, embeddings: bool = True, code: str = "code") -> Path:
        """Run the stage measure and return its index."""
        index = self.work / "measures" / "index.tsv"
        measure_dataset(
            h5=[self.work / "h5" / path.parent.name / "index.tsv" for path in self.tables],
            slices=self.tables,
            embeddings=[self.embeddings] if embeddings else [],
            raw=[path for path in raw.rglob("*.nii.gz") if "_gt" not in path.name],
            index=index,
            code=code,
            threads=2,
        )
        return index

    def report(
        self,
        raw: Path,
        unit: str = "patient",
        embeddings: bool = True,
        publish: bool = True,
        rule: SplitRule | None = None,
        metrics: Path | None = None,
        benchmark_results: Path | None = None,
        code: str = "code",
    ) -> str:
        """Run the stages publish (if asked for), verify, measure and report, and return the page."""
        from acdc_medsam.report import page  # imports matplotlib, which most tests do not need

        split = rule or SplitRule(unit=unit)
        if publish:
            self.publish(embeddings=embeddings, rule=split)

        quality = self.data / "quality.json"
        expected = self.expectations(embeddings=embeddings, split=split)
        verify_dataset(self.output, self.index, quality, self.work / "verified.tsv", expected, threads=1)
        inputs = page.ReportInputs(
            manifest=self.data / "manifest.tsv",
            quality=quality,
            measures=self.measure(raw, embeddings),
            published=self.index,
            embeddings=[self.embeddings] if embeddings else [],
            benchmarks=self.work / "benchmarks",
            template=TEMPLATE,
            metrics=metrics,
            benchmark_results=benchmark_results,
        )
        encoder = "lite_medsam" if embeddings else "none"
        settings = {"encoder": encoder, "precision": "float32", "split": split.settings}
        index = self.work / "report.tsv"
        page.write_report(inputs, self.data / "report.html", index, settings, code=code, threads=2)
        return (self.data / "report.html").read_text(encoding="utf-8")

    def replace_image(self, row: Row, pixels: Gray) -> None:
        """Give a slice another image and an embedding of its own; ``row`` is its row of the manifest."""
        folder = self.work / "png" / row["patient"]
        written = write_png(folder / "images" / f"{row['slice']}.png", pixels, RowFilter.UP)

        lines = read_sealed(folder / "slices.tsv")
        own = next(line for line in lines if line["slice"] == row["slice"])
        own.update(image_sha256=written.sha256, pixels_sha256=pixels_sha256(pixels))
        table = write_table(folder / "slices.tsv", SLICE_COLUMNS, lines, sealed=True)

        new = {file.path: file for file in (written, table)}
        files = [new.get(file.path, file) for file, _ in read_records(folder / "index.tsv")]
        write_index(folder / "index.tsv", [index_row(file, folder / "index.tsv") for file in files])
        self.embed()

    def expectations(self, **changes: object) -> Expectations:
        """Return what the dataset was made to be, with some changes."""
        asked = {"size": IMAGE_SIZE, "keep_empty": False, "embeddings": True, "split": SplitRule()}
        return Expectations(**{**asked, **changes})  # type: ignore[arg-type]

    def write_documents(self, embeddings: bool = True, unit: str = "patient", rule: SplitRule | None = None) -> None:
        """Run the stages verify, card and provenance, with a placeholder for the report."""
        split = rule or SplitRule(unit=unit)
        expected = self.expectations(embeddings=embeddings, split=split)
        quality = self.data / "quality.json"
        manifest = self.data / "manifest.tsv"
        verify_dataset(self.output, self.index, quality, self.work / "verified.tsv", expected, threads=1)

        documents = [self.data / name for name in ("README.md", "croissant.json")]
        encoder = {"name": "lite_medsam" if embeddings else "none", "precision": "float32"}
        settings = {
            "encoder": encoder["name"],
            "precision": "float32",
            "raw": "NIfTI files",
            "percentile": 99,
            "size": IMAGE_SIZE,
            "split": split.settings,
        }
        indexes = [self.work / f"{name}.tsv" for name in ("verified", "report", "card")]
        write_card(manifest, quality, CARD, *documents, indexes[2], settings | {"keep_empty": False})

        report = write_bytes(self.data / "report.html", b"<!DOCTYPE html>")
        write_index(indexes[1], [index_row(report, indexes[1])])
        write_provenance(
            indexes=Indexes(
                published=self.index,
                h5=sorted(self.work.glob("h5/*/index.tsv")),
                embeddings=[self.embeddings] if embeddings else [],
                documents=indexes,
            ),
            provenance=self.data / "provenance.json",
            index=self.work / "provenance.tsv",
            output=self.output,
            configuration={"encoder": encoder, "split": split.settings},
            code={"publish": "0" * 64},
            project=self.output,
        )


def provenance_of(data: Path) -> dict[str, Any]:
    """Read the provenance.json of a dataset."""
    content: dict[str, Any] = json.loads((data / "provenance.json").read_text())
    return content
