"""``acdc-medsam export``: the dataset in other layouts."""

import click

from acdc_medsam.cli._options import PassOn

EPILOG = """\b
Layouts:
  nnunet       nnU-Net v2, from the original NIfTI volumes
  medsam       images and masks as NumPy files, for MedSAM
  medsam2      whole volumes and cines as NumPy archives, for MedSAM2
  sam_med2d    images, masks of single structures, and lists, for SAM-Med2D
  automedsam   one dataset for each ventricle, for AutoMedSAM
  structures   one dataset for each structure
  webdataset   tar shards of image, mask, embedding and metadata
  zarr         embeddings of a split as one Zarr array
  lists        volumes and slices by split, for SSL4MIS

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
