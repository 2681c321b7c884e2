"""``acdc-medsam verify``: a dataset, or a copy of it, against its provenance.json."""

import os
from pathlib import Path

import click

from acdc_medsam.layout import DATASET, MANIFEST, PROVENANCE

EPILOG = """\b
Example:
  acdc-medsam verify data/ACDC
"""


@click.command(epilog=EPILOG)
@click.argument("dataset", type=click.Path(path_type=Path), default=DATASET)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=min(16, os.cpu_count() or 1),
    show_default=True,
    help="Number of files read at a time.",
)
@click.pass_context
def command(context: click.Context, dataset: Path, threads: int) -> None:
    """Check a dataset, or a copy of it.

    Each file of DATASET (default: data/ACDC) is compared with its provenance.json. Where the dataset was made, the H5
    files and work/ are read as well. The exit status is 0 if everything matches, 1 if anything differs, and 2 if there
    is no dataset.
    """
    from acdc_medsam.verify.copy import describe_difference
    from acdc_medsam.verify.everything import check_everything

    if not dataset.is_dir():
        raise click.UsageError(f"{dataset} is not a folder; give the folder that holds {PROVENANCE}, such as {DATASET}")
    if not any((dataset / name).exists() for name in (PROVENANCE, MANIFEST)):
        raise click.UsageError(f"{dataset} holds no {PROVENANCE}; give the folder that does, such as {DATASET}")

    files, differences, has_work = check_everything(dataset, threads)
    for difference in differences:
        click.echo(describe_difference(difference))
    if not differences:
        click.echo(f"{dataset}: all {files} files match {PROVENANCE}")
        return
    click.echo(f"{dataset} does not match {PROVENANCE}; differences: {len(differences)}")
    if has_work:
        click.echo(
            "to make what is damaged again, run the command that made the dataset with `repair`: snakemake repair"
        )
    context.exit(1)
