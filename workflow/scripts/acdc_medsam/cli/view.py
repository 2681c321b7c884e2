"""``acdc-medsam view``: look at a dataset, and click on its slices."""

from pathlib import Path

import click

from acdc_medsam.layout import DATASET

EPILOG = """\b
Example:
  acdc-medsam view data/ACDC --model training/model.pth
"""


@click.command(epilog=EPILOG)
@click.argument("dataset", type=click.Path(path_type=Path), default=DATASET)
@click.option("--model", type=click.Path(path_type=Path), help="Trained weights; those that were released by default.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Weights that the embeddings were made with; searched for in checkpoints/ by default.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
def command(dataset: Path, model: Path | None, checkpoint: Path | None, no_browser: bool) -> None:
    """Look at a dataset in a browser.

    The page shows images, masks and embeddings of DATASET (default: data/ACDC), and what the mask decoder answers to a
    click, a box, or no prompt. It is served to this machine alone, until Ctrl-C. It needs the extra `view` of this
    package.
    """
    from acdc_medsam.runtime.requirements import require_libraries

    require_libraries("the viewer", "aiohttp")
    from acdc_medsam.view.dataset import ViewedDataset
    from acdc_medsam.view.decoding import find_decoder
    from acdc_medsam.view.server import Viewer, listen, serve

    viewed = ViewedDataset(dataset)
    decoder = find_decoder(dataset, checkpoint, model, sorted(Path("checkpoints").glob("*.pth")))
    listener, token, address = listen()
    click.echo(f"{address}\nCtrl-C ends the viewer.")
    if not no_browser:
        _open_browser(address)
    serve(Viewer(viewed, decoder), listener, token)


def _open_browser(address: str) -> None:
    """Open a browser, if there is a screen: one that runs in the terminal would take it from the viewer."""
    import os
    import webbrowser

    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
