"""Stage report: manifest, checks, measures and pictures of the published dataset -> one self-contained page.

In: ``data/ACDC``, the measures, and what the jobs cost. Out: ``report.html``, which opens from disk and asks nothing
of the network.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jinja2

from acdc_medsam.acdc.labels import COLORS, GROUP_NAMES, PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.formats.files import Row, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.report.balance import balance_section
from acdc_medsam.report.contents import Contents, read_contents
from acdc_medsam.report.cost import cost_section, read_jobs
from acdc_medsam.report.elements import enumeration
from acdc_medsam.report.embeddings import Embeddings, embeddings_section
from acdc_medsam.report.extremes import Extreme, find_extremes
from acdc_medsam.report.glance import at_a_glance
from acdc_medsam.report.intensities import Intensities, intensities_section
from acdc_medsam.report.near_duplicates import identical_pictures
from acdc_medsam.report.pictures import Axes, Picture, Series, choose_series, draw_picture, principal_axes
from acdc_medsam.report.results import results_section

HINTED = ("Smallest right ventricle", "Smallest left ventricle", "Darkest", "Blurriest", "Most unequal resize")
"""Extremes of which the first section names the first."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """What a report is written from.

    Attributes:
        manifest: ``manifest.tsv``; images, masks and embeddings are read beside it.
        quality: ``quality.json``.
        measures: index of stage measure.
        published: index of published files.
        embeddings: tables of all batches; none for a dataset without embeddings.
        benchmarks: folder of the jobs' benchmark files.
        template: the page's Jinja2 template; its parts lie beside it.
        metrics: how good a model is that was fine-tuned on the dataset, if there is one.
    """

    manifest: Path
    quality: Path
    measures: Path
    published: Path
    embeddings: Sequence[Path]
    benchmarks: Path
    template: Path
    metrics: Path | None = None


def draw_series(contents: Contents, axes: Axes | None, pool: ThreadPoolExecutor) -> list[Series]:
    """Draw the chosen patients' slices, with their embeddings where there are axes."""

    def draw(row: Row) -> Picture:
        return draw_picture(contents.root, row, near=True, with_whole=True, axes=axes)

    return [
        Series(group, patient, phase, list(pool.map(draw, rows)))
        for group, patient, phase, rows in choose_series(contents)
    ]


def draw_extremes(contents: Contents, pool: ThreadPoolExecutor) -> list[tuple[Extreme, list[tuple[Picture, str]]]]:
    """Draw the extreme slices; each picture comes with its value in words."""
    drawn = []
    for extreme in find_extremes(contents):
        rows = [row for row, _ in extreme.slices]
        pictures = pool.map(lambda row, near=extreme.near: draw_picture(contents.root, row, near), rows)
        drawn.append((extreme, list(zip(pictures, (value for _, value in extreme.slices), strict=True))))
    return drawn


def write_report(sources: Sources, report: Path, index: Path, settings: Mapping[str, object], threads: int) -> None:
    """Write the page; the same sources give the same bytes.

    Args:
        sources: what it is written from.
        report: Declared output.
        index: Declared output, the index of ``report``.
        settings: keys of the configuration that the page shows, see :func:`acdc_medsam.report.glance.at_a_glance`.
        threads: number of threads that read and draw pictures.
    """
    contents = read_contents(sources.manifest, sources.quality, sources.measures)
    patients = contents.by_patient()
    jobs = read_jobs(sources.benchmarks, [*patients, *(table.stem for table in sources.embeddings)])
    axes = principal_axes(contents.measures) if sources.embeddings else None
    with ThreadPoolExecutor(threads) as pool:
        series, extremes = draw_series(contents, axes, pool), draw_extremes(contents, pool)
    intensities, identical = intensities_section(contents), identical_pictures(contents)
    embeddings = embeddings_section(contents) if sources.embeddings else None
    hints = find_hints(
        [extreme for extreme, _ in extremes if extreme.title in HINTED], intensities, embeddings, len(identical)
    )
    template = _environment(sources.template.parent).get_template(sources.template.name)
    page = template.render(
        quality=contents.quality,
        glance=at_a_glance(contents, settings, sources.manifest, sources.embeddings, hints),
        series=series,
        axes=axes,
        extremes=extremes,
        intensities=intensities,
        balance=balance_section(contents),
        embeddings=embeddings,
        identical=identical,
        results=results_section(sources.metrics, sources.manifest),
        cost=cost_section(jobs, {name: len(rows) for name, rows in patients.items()}, sources.published),
        colours=COLORS,
        structure_names=STRUCTURE_NAMES,
        group_names=GROUP_NAMES,
        phase_names=PHASE_NAMES,
    )
    written = write_bytes(report, page.encode())
    write_index(index, [index_row(written, index)])
    logger.info("%d slices, %d bytes", len(contents.rows), len(page.encode()))


def find_hints(
    extremes: Sequence[Extreme], intensities: Intensities, embeddings: Embeddings | None, identical: int
) -> list[tuple[str, str]]:
    """Say what stands out: the anchor of the section that shows it, and what it is in words."""
    hints = []
    if identical:
        hints.append(("embeddings", f"{identical} pictures are the same in more than one split"))
    if embeddings and embeddings.near_duplicates.count:
        count = embeddings.near_duplicates.count
        hints.append(("embeddings", f"{count} pairs of slices in different splits are nearly the same"))
    if intensities.outliers:
        hints.append(("intensities", f"Intensities far from the others': {enumeration(intensities.outlying, 3)}"))
    for extreme in extremes:
        for row, value in extreme.slices[:1]:
            hints.append(("extremes", f"{extreme.title}: {row['slice']}, {value}"))
    return hints


def _environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
