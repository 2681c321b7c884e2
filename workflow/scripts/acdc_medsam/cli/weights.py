"""``acdc-medsam weights``: download the weights of an encoder, or check a file of weights."""

import logging
from pathlib import Path

import click

from acdc_medsam.encoders.registry import CHECKPOINTS, ENCODERS
from acdc_medsam.errors import CheckpointError

EPILOG = """\b
Examples:
  acdc-medsam weights lite_medsam                        download into checkpoints/
  acdc-medsam weights medsam_vit_b my/medsam_vit_b.pth   check a file
"""


@click.command(epilog=EPILOG)
@click.argument("name", type=click.Choice(tuple(ENCODERS)))
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--sha256", help="Expected sha256 of the file, in hex.")
@click.pass_context
def command(context: click.Context, name: str, file: Path | None, sha256: str | None) -> None:
    """Download or check weights.

    NAME is a value of encoder.name in config.yaml. Its weights are downloaded into checkpoints/; or, if a FILE is
    named, the file is checked. A download that was interrupted continues where it broke off.
    """
    from acdc_medsam.stages.fetch_weights import fetch_weights

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if file is None:
        file = fetch_weights(ENCODERS[name], CHECKPOINTS / ENCODERS[name].file_name)

    from acdc_medsam.encoders import load_model

    try:
        load_model(name, file, sha256)
    except CheckpointError as error:
        click.echo(str(error))
        context.exit(1)
    click.echo(f"{file}: the weights of {name}")
