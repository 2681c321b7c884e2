"""Stage report: show the published dataset on one page.

In: ``data/ACDC``, the measures, and the benchmarks of the jobs. Out: ``report.html``, which contains everything that it
shows and loads nothing from the network.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from acdc_medsam.acdc.citation import REFERENCE
from acdc_medsam.acdc.labels import COLORS, GROUP_NAMES, PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.formats.files import Written, write_bytes
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.report.balance import Balance, balance_section
from acdc_medsam.report.benchmark import benchmark_section
from acdc_medsam.report.contents import Contents, read_contents
from acdc_medsam.report.cost import Cost, cost_section, read_jobs
from acdc_medsam.report.drawing import Chart, draw_chart
from acdc_medsam.report.elements import list_first
from acdc_medsam.report.embeddings import Embeddings, embeddings_section
from acdc_medsam.report.extremes import Extreme, find_extremes
from acdc_medsam.report.glance import at_a_glance
from acdc_medsam.report.intensities import Intensities, intensities_section
from acdc_medsam.report.near_duplicates import identical_pictures
from acdc_medsam.report.pictures import Picture, Series, Studio, choose_series, principal_axes
from acdc_medsam.report.pieces import Pieces
from acdc_medsam.report.results import results_section

PIECES = "report_pieces.json"
"""Name of the file with the pieces of the last report."""

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
        benchmark_results: The file ``benchmark.json`` of a benchmark on the dataset. It need not exist.
    """

    manifest: Path
    quality: Path
    measures: Path
    published: Path
    embeddings: Sequence[Path]
    benchmarks: Path
    template: Path
    metrics: Path | None = None
    benchmark_results: Path | None = None


@dataclass(frozen=True)
class Sections:
    """Contents of the sections that have charts. There is no section on embeddings for a dataset without any."""

    intensities: Intensities
    balance: Balance
    embeddings: Embeddings | None
    cost: Cost

    @property
    def charts(self) -> list[Chart]:
        """All charts."""
        sections = (self.intensities, self.balance, self.embeddings, self.cost)
        return [chart for section in sections if section for chart in section.charts]


def draw_series(contents: Contents, studio: Studio, pool: ThreadPoolExecutor) -> Iterator[Series]:
    """Begin to draw the slices of the chosen patients, and return their series, which wait for the pictures."""
    draw = partial(studio.draw_picture, near=True, complete=True)
    chosen = choose_series(contents)
    begun = [(group, patient, phase, pool.map(draw, rows)) for group, patient, phase, rows in chosen]
    return (Series(group, patient, phase, list(pictures)) for group, patient, phase, pictures in begun)


def draw_extremes(
    extremes: Sequence[Extreme], studio: Studio, pool: ThreadPoolExecutor
) -> Iterator[tuple[Extreme, list[tuple[Picture, str]]]]:
    """Begin to draw the extreme slices. Each picture, which is waited for, comes with its value in words."""
    begun = []
    for extreme in extremes:
        draw = partial(studio.draw_picture, near=extreme.near)
        begun.append(pool.map(draw, [row for row, _ in extreme.slices]))
    return (
        (extreme, list(zip(pictures, [value for _, value in extreme.slices], strict=True)))
        for extreme, pictures in zip(extremes, begun, strict=True)
    )


def write_report(
    inputs: ReportInputs, report: Path, index: Path, settings: Mapping[str, Any], code: str, threads: int
) -> None:
    """Write the report. The same inputs give the same bytes, whatever is taken from the last report.

    Args:
        inputs: The files that the report is made from.
        report: Declared output, ``report.html``.
        index: Declared output, the index of ``report``. The pieces of the page are kept in a file beside it.
        settings: Configuration keys that the page shows, see :func:`acdc_medsam.report.glance.at_a_glance`.
        code: Hash of the code that writes the report.
        threads: Number of threads that read and draw pictures.
    """
    contents = read_contents(inputs.manifest, inputs.quality, inputs.measures)
    pieces = Pieces(index.with_name(PIECES), code)
    with ThreadPoolExecutor(threads) as pool:
        page = render_page(inputs, contents, settings, pieces, pool)

    written = write_bytes(report, page.encode())
    pieces.save()
    write_index(index, [index_row(written, index)])
    logger.info("%d slices, %d bytes; %s", len(contents.rows), len(page.encode()), pieces.describe())


def render_page(
    inputs: ReportInputs,
    contents: Contents,
    settings: Mapping[str, Any],
    pieces: Pieces,
    pool: ThreadPoolExecutor,
) -> str:
    """Draw and lay out the page; see :func:`write_report` for the arguments."""
    axes = principal_axes(contents.measures) if inputs.embeddings else None
    records = {written.path: written for written, _ in read_records(inputs.published)}
    studio = Studio(contents.root, records, pieces, axes)

    # The threads draw pictures while this one computes the sections and draws charts, which Matplotlib does in one.
    series = draw_series(contents, studio, pool)
    extremes = find_extremes(contents)
    drawn_extremes = draw_extremes(extremes, studio, pool)
    sections = compute_sections(inputs, contents, records.values())
    drawings = {chart.name: Markup(draw_chart(chart, pieces)) for chart in sections.charts}  # noqa: S704 - made here

    identical = identical_pictures(contents)
    hints = find_hints(extremes, sections.intensities, sections.embeddings, len(identical))
    template = make_environment(inputs.template.parent).get_template(inputs.template.name)
    return template.render(
        name=NAME,
        reference=REFERENCE,
        quality=contents.quality,
        glance=at_a_glance(contents, settings, inputs.manifest, inputs.embeddings, hints),
        drawings=drawings,
        series=series,
        axes=axes,
        extremes=drawn_extremes,
        has_raw=contents.has_raw,
        identical=identical,
        results=results_section(inputs.metrics, inputs.manifest),
        benchmark=benchmark_section(inputs.benchmark_results, inputs.manifest),
        colors=COLORS,
        structure_names=STRUCTURE_NAMES,
        group_names=GROUP_NAMES,
        phase_names=PHASE_NAMES,
        **vars(sections),
    )


def compute_sections(inputs: ReportInputs, contents: Contents, published: Iterable[Written]) -> Sections:
    """Compute the contents of the sections that have charts; ``published`` are the records of the published files."""
    patients = contents.by_patient()
    jobs = read_jobs(inputs.benchmarks, [*patients, *(table.stem for table in inputs.embeddings)])
    return Sections(
        intensities=intensities_section(contents),
        balance=balance_section(contents),
        embeddings=embeddings_section(contents) if inputs.embeddings else None,
        cost=cost_section(jobs, {name: len(rows) for name, rows in patients.items()}, published),
    )


def find_hints(
    extremes: Sequence[Extreme], intensities: Intensities, embeddings: Embeddings | None, identical: int
) -> list[tuple[str, str]]:
    """Collect what stands out in the sections.

    Args:
        extremes: The extremes. Of those in HINTED, the first slice is named.
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
        for row, value in extreme.slices[:1] if extreme.title in HINTED else ():
            hints.append(("extremes", f"{extreme.title}: {row['slice']}, {value}"))
    return hints


def make_environment(folder: Path) -> jinja2.Environment:
    """Make the environment that lays out pages from the templates in a folder."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        # Names of files and messages from damaged data must not become markup.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
