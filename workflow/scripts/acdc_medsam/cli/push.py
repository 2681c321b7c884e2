"""``acdc-medsam push``: a verified dataset to the Hugging Face hub."""

from pathlib import Path

import click

from acdc_medsam.layout import DATASET

EPILOG = """\b
Example:
  acdc-medsam push jane/acdc-medsam
"""


@click.command(epilog=EPILOG)
@click.argument("repository", metavar="USER/NAME")
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=DATASET,
    show_default=True,
    help="Folder of the dataset.",
)
@click.option("--private/--public", default=True, show_default=True, help="Who can see a new repository.")
@click.option("--yes", is_flag=True, help="Do not ask before uploading.")
def command(repository: str, dataset: Path, private: bool, yes: bool) -> None:
    """Upload a dataset to the Hugging Face hub.

    The dataset is verified first. Then the command says what it would upload, and what ACDC's license asks for, and
    asks whether to go on. An upload that broke off goes on with the files that are missing there. It needs the extra
    `hub` of this package, and a login: `hf auth login`.
    """
    from acdc_medsam.hub.push import describe_push, plan_push, upload

    push = plan_push(dataset, repository, private)
    click.echo(describe_push(push))
    if not yes:
        click.confirm("Upload it?", abort=True)

    upload(push)
    click.echo(f"{len(push.files)} files are at {push.repository.url}")
