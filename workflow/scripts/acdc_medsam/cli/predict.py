"""``acdc-medsam predict``: masks, measurements and a report for scans that are in no dataset."""

import logging
import sys
from pathlib import Path

import click

from acdc_medsam.encoders.registry import ENCODERS

EPILOG = """\b
Examples:
  acdc-medsam predict --model training/lite_medsam/model.pth patient101_4d.nii.gz
  acdc-medsam predict --model training/lite_medsam/model.pth --out predictions scans/
"""


@click.command(epilog=EPILOG, context_settings={"show_default": True})
@click.argument("scans", metavar="SCAN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--model", type=click.Path(path_type=Path), default=Path("training/model.pth"), help="Trained weights.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("predictions"), help="Output folder.")
@click.option("--device", default="auto", help="auto, cpu, cuda, or one GPU such as cuda:0.")
@click.option("--threads", type=click.IntRange(1), help="Threads to use; all processors by default.")
@click.option(
    "--encoder", type=click.Choice(tuple(ENCODERS)), help="Encoder of the model, if training.json is not beside it."
)
@click.pass_context
def command(
    context: click.Context,
    scans: tuple[Path, ...],
    model: Path,
    out: Path,
    device: str,
    threads: int | None,
    encoder: str | None,
) -> None:
    """Segment scans with a trained model.

    A SCAN is a short-axis NIfTI file, a single volume or a cine, or a folder of such files. Masks, measurements.tsv and
    report.html are written to the output folder. Scans that cannot be used are named, and the others are segmented. A
    scan that is done is not done again. Not for medical use.
    """
    import os

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if sys.stderr.isatty():
        # There, the bar says the same.
        logging.getLogger("acdc_medsam.runtime.progress").setLevel(logging.WARNING)
    from acdc_medsam.predict.run import describe_failures, predict_scans
    from acdc_medsam.predict.segment import SegmentOptions

    options = SegmentOptions(device=device, threads=threads or len(os.sched_getaffinity(0)))
    outcome = predict_scans(model, scans, out, options, encoder)
    click.echo(f"{len(outcome.scans)} scans segmented; report: {out / 'report.html'}")
    if outcome.failed:
        click.echo(f"could not be segmented:\n{describe_failures(outcome)}", err=True)
        context.exit(1)
