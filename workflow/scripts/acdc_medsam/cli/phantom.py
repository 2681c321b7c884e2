"""``acdc-medsam phantom``: synthetic patients."""

from pathlib import Path

import click

EPILOG = """\b
Example:
  acdc-medsam phantom ACDC/raw --patients 10 --testing 5

\b
With --cine there are also, beside the two labeled frames of a patient:
  patientNNN_4d.nii.gz     the whole heart beat, with the time between frames in the header
  patientNNN_4d_gt.nii.gz  its labels
  patientNNN_4d_truth.tsv  the volumes that the heart was made with, in ml
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--patients", type=click.IntRange(0), default=10, show_default=True, help="Number of training patients.")
@click.option("--testing", type=click.IntRange(0), default=0, show_default=True, help="Number of testing patients.")
@click.option("--depth", type=int, help="Number of slices of each volume.  [default: drawn from 8 to 12]")
@click.option("--seed", type=click.IntRange(0), default=2026, show_default=True, help="Seed of everything drawn.")
@click.option("--cine", is_flag=True, help="Write the whole heart beat too, 25 to 30 frames.")
def command(folder: Path, patients: int, testing: int, depth: int | None, seed: int, cine: bool) -> None:
    """Write synthetic patients.

    They have cardiac MRI in ACDC's raw layout, in DIR/training and DIR/testing.
    """
    from acdc_medsam.phantom.cohort import write_cohort

    try:
        folders = write_cohort(folder, patients, seed, testing=testing, depth=depth, cine=cine)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"synthetic patients written to {folder}: {len(folders)}")
