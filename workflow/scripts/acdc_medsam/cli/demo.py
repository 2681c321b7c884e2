"""``acdc-medsam demo``: the whole workflow on synthetic patients."""

from pathlib import Path

import click

EPILOG = """\b
Example:
  acdc-medsam demo && xdg-open demo/out/data/ACDC/report.html
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default="demo")
@click.option("--patients", type=click.IntRange(2), default=5, show_default=True, help="Number of patients.")
@click.option("--depth", type=click.IntRange(3), default=6, show_default=True, help="Number of slices of each volume.")
def command(folder: Path, patients: int, depth: int) -> None:
    """Run the workflow on synthetic patients.

    They are written to DIR/raw and the verified dataset to DIR/out, where DIR is `demo` by default. On a CPU, this
    takes a minute. The weights of LiteMedSAM (39 MB) are downloaded into checkpoints/ unless they are there.
    """
    import logging

    from acdc_medsam.cli._snakemake import run_snakemake
    from acdc_medsam.encoders.registry import CHECKPOINTS, ENCODERS
    from acdc_medsam.phantom.cohort import write_cohort
    from acdc_medsam.project import PROJECT
    from acdc_medsam.stages.fetch_weights import fetch_weights

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    encoder = ENCODERS["lite_medsam"]
    fetch_weights(encoder, CHECKPOINTS / encoder.file_name)
    # One patient of each pathology group, with few slices, so that a CPU encodes them in a minute.
    write_cohort(folder / "raw", patients, depth=depth)
    click.echo(f"synthetic patients written to {folder / 'raw'}: {patients}")

    settings = [f"raw={folder / 'raw'}", f"output={folder / 'out'}"]
    run_snakemake(["--configfile", str(PROJECT / "demo/config.yaml"), "--config", *settings])
