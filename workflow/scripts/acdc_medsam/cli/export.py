"""``acdc-medsam export``: the dataset in other layouts."""

import click

from acdc_medsam.cli._options import PassOn

EPILOG = """\b
Layouts:
  nnunet       nnU-Net v2, from the original NIfTI volumes
  webdataset   tar shards of image, mask, embedding and metadata
  lists        volumes and slices by split, for SSL4MIS
  structures   one dataset for each structure
\b
Example:
  acdc-medsam export nnunet webdataset
"""


@click.command(cls=PassOn, epilog=EPILOG)
def command(arguments: tuple[str, ...]) -> None:
    """Export the dataset to other layouts.

    They are made below data/exports, and the dataset before them unless it exists. This is `acdc-medsam run` with these
    targets, and takes the same options.
    """
    from acdc_medsam.cli._snakemake import run_snakemake
    from acdc_medsam.exports.registry import LAYOUTS

    if not arguments or arguments[0] not in LAYOUTS:
        raise click.UsageError(f"name a layout: {', '.join(LAYOUTS)}")
    run_snakemake(arguments)
