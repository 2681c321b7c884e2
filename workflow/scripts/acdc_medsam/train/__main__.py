"""Command line: ``python -m acdc_medsam.train --data_dir data/ACDC --epochs 100``."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.errors import AcdcError, describe_os_error
from acdc_medsam.layout import DATASET
from acdc_medsam.train import require_libraries
from acdc_medsam.train.options import TrainOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit status."""
    given = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        require_libraries()
        from acdc_medsam.train.fit import fine_tune
        from acdc_medsam.train.weights import find_checkpoint

        keys = ("epochs", "learning_rate", "seed", "patients", "batch_size", "box_jitter")
        options = TrainOptions(**{key: getattr(given, key) for key in keys})
        checkpoint = given.checkpoint or find_checkpoint(given.data_dir, sorted(Path("checkpoints").glob("*.pth")))
        fine_tune(
            data=given.data_dir,
            checkpoint=checkpoint,
            model=given.out / "model.pth",
            options=options,
            device=given.device,
            workers=given.workers,
            threads=given.threads,
        )
    except (AcdcError, OSError) as error:
        print(f"error: {describe_os_error(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    defaults = TrainOptions()
    parser = argparse.ArgumentParser(
        prog="python -m acdc_medsam.train",
        description="Fine-tune the mask decoder on a dataset's embeddings. The same command resumes a stopped run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data_dir", type=Path, default=DATASET, help="folder of the dataset")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="weights that the embeddings were made with; searched for in checkpoints/ by default",
    )
    parser.add_argument("--out", type=Path, default=Path("training"), help="output folder")
    parser.add_argument("--epochs", type=int, default=defaults.epochs)
    parser.add_argument("--learning_rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size)
    parser.add_argument("--box_jitter", type=float, default=defaults.box_jitter, help="pixels of 1024")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--patients", type=int, help="number of patients to train on; all by default")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, or one GPU such as cuda:0")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    parser.add_argument("--threads", type=int, help="threads of the computation on a CPU; torch's choice by default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
