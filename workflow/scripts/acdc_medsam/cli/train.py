"""``acdc-medsam train``: training without Snakemake."""

import logging
from pathlib import Path

import click

from acdc_medsam.layout import DATASET
from acdc_medsam.train.options import TrainOptions

DEFAULTS = TrainOptions()
EPILOG = """\b
Example:
  acdc-medsam train data/ACDC --epochs 100
"""


@click.command(epilog=EPILOG, context_settings={"show_default": True})
@click.argument("dataset", type=click.Path(path_type=Path), default=DATASET)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Weights that the embeddings were made with; searched for in checkpoints/ by default.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("training"), help="Output folder.")
@click.option("--epochs", type=int, default=DEFAULTS.epochs, help="Passes over the training slices.")
@click.option("--learning-rate", type=float, default=DEFAULTS.learning_rate, help="The highest learning rate.")
@click.option("--batch-size", type=int, default=DEFAULTS.batch_size, help="Slices in a batch.")
@click.option("--box-jitter", type=float, default=DEFAULTS.box_jitter, help="Shift of boxes, in pixels of 1024.")
@click.option("--seed", type=int, default=DEFAULTS.seed, help="Seed of the order of slices and of all shifts.")
@click.option("--device", default="auto", help="auto, cpu, cuda, or one GPU such as cuda:0.")
@click.option("--workers", type=int, default=0, help="Processes that load data.")
@click.option("--threads", type=int, help="Threads of the computation on a CPU; PyTorch's choice by default.")
def command(
    dataset: Path,
    checkpoint: Path | None,
    out: Path,
    device: str,
    workers: int,
    threads: int | None,
    **options: int | float,
) -> None:
    """Train a model on a dataset.

    The mask decoder is fine-tuned on the embeddings of DATASET (default: data/ACDC), without Snakemake. The same
    command resumes a training that was stopped.
    """
    from acdc_medsam.train import require_libraries

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    require_libraries()
    from acdc_medsam.train.fit import fine_tune
    from acdc_medsam.train.weights import find_checkpoint

    chosen = TrainOptions(**options)  # type: ignore[arg-type]
    fine_tune(
        data=dataset,
        checkpoint=checkpoint or find_checkpoint(dataset, sorted(Path("checkpoints").glob("*.pth"))),
        model=out / "model.pth",
        options=chosen,
        device=device,
        workers=workers,
        threads=threads,
    )
