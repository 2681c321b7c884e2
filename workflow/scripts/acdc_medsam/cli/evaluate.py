"""``acdc-medsam evaluate``: evaluation without Snakemake."""

import logging
from pathlib import Path

import click

from acdc_medsam.layout import DATASET

EPILOG = """\b
Example:
  acdc-medsam evaluate data/ACDC --model training/model.pth --split val --split test
"""


@click.command(epilog=EPILOG, context_settings={"show_default": True})
@click.argument("dataset", type=click.Path(path_type=Path), default=DATASET)
@click.option("--model", type=click.Path(path_type=Path), default=Path("training/model.pth"), help="Trained weights.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Weights that the embeddings were made with; searched for in checkpoints/ by default.",
)
@click.option(
    "--volumes",
    type=click.Path(path_type=Path),
    help="Folder that holds ACDC_training_volumes; two levels above the dataset by default.",
)
@click.option(
    "--split",
    type=click.Choice(("val", "test")),
    multiple=True,
    default=["val"],
    help="Split whose patients to measure.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("training"), help="Output folder.")
def command(
    dataset: Path, model: Path, checkpoint: Path | None, volumes: Path | None, split: tuple[str, ...], out: Path
) -> None:
    """Measure a trained model in 3D.

    The patients of DATASET (default: data/ACDC) are segmented by the fine-tuned model and by the released one.
    """
    from acdc_medsam.train import require_libraries

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    require_libraries()
    from acdc_medsam.evaluate.run import evaluate_model
    from acdc_medsam.evaluate.summary import format_table
    from acdc_medsam.train.weights import find_checkpoint

    released = checkpoint or find_checkpoint(dataset, sorted(Path("checkpoints").glob("*.pth")))
    metrics = evaluate_model(dataset, volumes or dataset.resolve().parents[1], released, model, list(split), out)
    click.echo(format_table(metrics))
