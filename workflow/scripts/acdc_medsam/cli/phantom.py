"""``acdc-medsam phantom``: synthetic patients."""

from pathlib import Path

import click

EPILOG = """\b
Example:
  acdc-medsam phantom ACDC/raw --patients 10 --testing 5
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--patients", type=click.IntRange(0), default=10, show_default=True, help="Number of training patients.")
@click.option("--testing", type=click.IntRange(0), default=0, show_default=True, help="Number of testing patients.")
@click.option("--depth", type=int, help="Number of slices of each volume.  [default: drawn from 8 to 12]")
@click.option("--seed", type=click.IntRange(0), default=2026, show_default=True, help="Seed of everything drawn.")
def command(folder: Path, patients: int, testing: int, depth: int | None, seed: int) -> None:
    """Write synthetic patients.

    They have cardiac MRI in ACDC's raw layout, in DIR/training and DIR/testing.
    """
    from acdc_medsam.phantom.cohort import write_cohort

    try:
        folders = write_cohort(folder, patients, seed, testing=testing, depth=depth)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"synthetic patients written to {folder}: {len(folders)}")
