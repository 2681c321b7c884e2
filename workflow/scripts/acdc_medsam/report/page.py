"""Stage report: show the published dataset on one page.

In: ``data/ACDC``, the measures, and the benchmarks of the jobs. Out: ``report.html``, which contains everything that it
shows and loads nothing from the network.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jinja2

from acdc_medsam.acdc.citation import REFERENCE
from acdc_medsam.acdc.labels import COLORS, GROUP_NAMES, PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.formats.files import Row, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.report.balance import balance_section
from acdc_medsam.report.contents import Contents, read_contents
from acdc_medsam.report.cost import cost_section, read_jobs
from acdc_medsam.report.elements import list_first
from acdc_medsam.report.embeddings import Embeddings, embeddings_section
from acdc_medsam.report.extremes import Extreme, find_extremes
from acdc_medsam.report.glance import at_a_glance
from acdc_medsam.report.intensities import Intensities, intensities_section
from acdc_medsam.report.near_duplicates import identical_pictures
from acdc_medsam.report.pictures import Axes, Picture, Series, choose_series, draw_picture, principal_axes
from acdc_medsam.report.results import results_section

HINTED = ("Smallest right ventricle", "Smallest left ventricle", "Darkest", "Blurriest", "Most unequal resize")
"""Extremes whose first slice is named in the first section."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportInputs:
    """The files that a report is made from.

    Attributes:
        manifest: The file ``manifest.tsv``. Images, masks and embeddings are read from the folders beside it.
        quality: The file ``quality.json``.
        measures: The index of measures.
        published: The index of published files.
        embeddings: The tables of embeddings of all batches; none for a dataset without embeddings.
        benchmarks: Folder of the benchmark files of the jobs.
        template: The Jinja2 template of the page. The templates of its sections lie beside it.
        metrics: The file ``metrics.json`` of a model that was fine-tuned on the dataset. It need not exist.
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
    """Draw the slices of the chosen patients, with their embeddings unless ``axes`` is None."""

    def draw(row: Row) -> Picture:
        return draw_picture(contents.root, row, near=True, with_whole=True, axes=axes)

    return [
        Series(group, patient, phase, list(pool.map(draw, rows)))
        for group, patient, phase, rows in choose_series(contents)
    ]


def draw_extremes(contents: Contents, pool: ThreadPoolExecutor) -> list[tuple[Extreme, list[tuple[Picture, str]]]]:
    """Draw the extreme slices. Each picture comes with its value in words."""
    drawn = []
    for extreme in find_extremes(contents):
        draw = partial(draw_picture, contents.root, near=extreme.near)
        pictures = pool.map(draw, [row for row, _ in extreme.slices])
        values = [value for _, value in extreme.slices]
        drawn.append((extreme, list(zip(pictures, values, strict=True))))
    return drawn


def write_report(inputs: ReportInputs, report: Path, index: Path, settings: Mapping[str, object], threads: int) -> None:
    """Write the report. The same inputs give the same bytes.

    Args:
        inputs: The files that the report is made from.
        report: Declared output, ``report.html``.
        index: Declared output, the index of ``report``.
        settings: Configuration keys that the page shows, see :func:`acdc_medsam.report.glance.at_a_glance`.
        threads: Number of threads that read and draw pictures.
    """
    contents = read_contents(inputs.manifest, inputs.quality, inputs.measures)
    patients = contents.by_patient()
    jobs = read_jobs(inputs.benchmarks, [*patients, *(table.stem for table in inputs.embeddings)])

    axes = principal_axes(contents.measures) if inputs.embeddings else None
    with ThreadPoolExecutor(threads) as pool:
        series = draw_series(contents, axes, pool)
        extremes = draw_extremes(contents, pool)
    intensities = intensities_section(contents)
    embeddings = embeddings_section(contents) if inputs.embeddings else None
    identical = identical_pictures(contents)
    hinted = [extreme for extreme, _ in extremes if extreme.title in HINTED]
    hints = find_hints(hinted, intensities, embeddings, len(identical))

    template = _environment(inputs.template.parent).get_template(inputs.template.name)
    page = template.render(
        name=NAME,
        reference=REFERENCE,
        quality=contents.quality,
        glance=at_a_glance(contents, settings, inputs.manifest, inputs.embeddings, hints),
        series=series,
        axes=axes,
        extremes=extremes,
        intensities=intensities,
        has_raw=contents.has_raw,
        balance=balance_section(contents),
        embeddings=embeddings,
        identical=identical,
        results=results_section(inputs.metrics, inputs.manifest),
        cost=cost_section(jobs, {name: len(rows) for name, rows in patients.items()}, inputs.published),
        colors=COLORS,
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
    """Collect what stands out in the sections.

    Args:
        extremes: The extremes whose first slice is named.
        intensities: Contents of the section on intensities.
        embeddings: Contents of the section on embeddings, or None for a dataset without embeddings.
        identical: Number of pictures that are in more than one split.

    Returns:
        For each hint the anchor of the section that shows it, and what it is in words.
    """
    hints = []
    if identical:
        hints.append(("embeddings", f"{identical} pictures are the same in more than one split"))
    if embeddings and embeddings.near_duplicates.count:
        count = embeddings.near_duplicates.count
        hints.append(("embeddings", f"{count} pairs of slices in different splits are nearly the same"))
    if intensities.outliers:
        hints.append(("intensities", f"Intensities far from the others': {list_first(intensities.outlying, 3)}"))
    for extreme in extremes:
        for row, value in extreme.slices[:1]:
            hints.append(("extremes", f"{extreme.title}: {row['slice']}, {value}"))
    return hints


def _environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        # Names of files and messages from damaged data must not become markup.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
