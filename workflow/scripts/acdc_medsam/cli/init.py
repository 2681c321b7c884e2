"""``acdc-medsam init``: a configuration to edit."""

from pathlib import Path

import click

EPILOG = """\b
Example:
  acdc-medsam init my-dataset && cd my-dataset
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=".")
def command(folder: Path) -> None:
    """Write a config.yaml to edit.

    It has every key, and goes into DIR (default: this folder).
    """
    from acdc_medsam.errors import ConfigError
    from acdc_medsam.project import PROJECT

    path = folder / "config.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write((PROJECT / "config.yaml").read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise ConfigError(f"{path} exists and is not overwritten; edit it, or remove it first") from error
    click.echo(f"{path} written; edit it, then run `acdc-medsam run` in {folder}")
