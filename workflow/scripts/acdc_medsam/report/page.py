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

from acdc_medsam.files import write_bytes
from acdc_medsam.report.balance import balance_section
from acdc_medsam.report.contents import Contents, read_contents
from acdc_medsam.report.cost import cost_section, read_jobs
from acdc_medsam.report.elements import COLOURS, GROUP_NAMES, PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.report.embeddings import embeddings_section, identical_pictures
from acdc_medsam.report.extremes import Extreme, find_extremes
from acdc_medsam.report.glance import at_a_glance
from acdc_medsam.report.intensities import intensities_section
from acdc_medsam.report.pictures import Axes, Picture, Series, choose_series, draw_picture, principal_axes

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
    """

    manifest: Path
    quality: Path
    measures: Path
    published: Path
    embeddings: Sequence[Path]
    benchmarks: Path
    template: Path


def draw_series(contents: Contents, axes: Axes | None, pool: ThreadPoolExecutor) -> list[Series]:
    """Draw the chosen patients' slices, with their embeddings where there are axes."""
    return [
        Series(group, patient, phase, list(pool.map(lambda row: draw_picture(contents.root, row, axes), rows)))
        for group, patient, phase, rows in choose_series(contents)
    ]


def draw_extremes(contents: Contents, pool: ThreadPoolExecutor) -> list[tuple[Extreme, list[tuple[Picture, str]]]]:
    """Draw the extreme slices; each picture comes with its value in words."""
    return [
        (
            extreme,
            list(pool.map(lambda one: (draw_picture(contents.root, one[0]), one[1]), extreme.slices)),
        )
        for extreme in find_extremes(contents)
    ]


def write_report(sources: Sources, report: Path, settings: Mapping[str, object], threads: int) -> None:
    """Write the page; the same sources give the same bytes.

    Args:
        sources: what it is written from.
        report: declared output.
        settings: keys of the configuration that the page shows, see :func:`acdc_medsam.report.glance.at_a_glance`.
        threads: number of threads that read and draw pictures.
    """
    contents = read_contents(sources.manifest, sources.quality, sources.measures)
    patients = contents.by_patient()
    jobs = read_jobs(sources.benchmarks, [*patients, *(table.stem for table in sources.embeddings)])
    axes = principal_axes(contents.measures) if sources.embeddings else None
    with ThreadPoolExecutor(threads) as pool:
        series, extremes = draw_series(contents, axes, pool), draw_extremes(contents, pool)
    page = _environment(sources.template.parent).get_template(sources.template.name).render(
        quality=contents.quality,
        glance=at_a_glance(contents, settings, sources.manifest, sources.embeddings),
        series=series,
        axes=axes,
        extremes=extremes,
        intensities=intensities_section(contents),
        balance=balance_section(contents),
        embeddings=embeddings_section(contents) if sources.embeddings else None,
        identical=identical_pictures(contents),
        cost=cost_section(jobs, {name: len(rows) for name, rows in patients.items()}, sources.published),
        colours={STRUCTURE_NAMES[key]: colour for key, colour in COLOURS.items()},
        structure_colours=COLOURS,
        group_names=GROUP_NAMES,
        phase_names=PHASE_NAMES,
    )
    write_bytes(report, page.encode())
    logger.info("%d slices, %d bytes", len(contents.rows), len(page.encode()))


def _environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
