"""Command line: ``python -m acdc_medsam.evaluate --data_dir data/ACDC --model training/model.pth``."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.errors import AcdcError, describe_os_error
from acdc_medsam.layout import DATASET
from acdc_medsam.train import require_libraries


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says; returns the exit status."""
    given = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        require_libraries()
        from acdc_medsam.evaluate.run import evaluate_model
        from acdc_medsam.evaluate.summary import format_table
        from acdc_medsam.train.weights import find_checkpoint

        checkpoint = given.checkpoint or find_checkpoint(given.data_dir, sorted(Path("checkpoints").glob("*.pth")))
        volumes = given.volumes or given.data_dir.resolve().parents[1]
        metrics = evaluate_model(given.data_dir, volumes, checkpoint, given.model, given.split, given.out)
    except (AcdcError, OSError) as error:
        print(f"error: {describe_os_error(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    print(format_table(metrics))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m acdc_medsam.evaluate",
        description="Segment a split with a fine-tuned model and with the released one, and measure the masks in 3D.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data_dir", type=Path, default=DATASET, help="folder of the dataset")
    parser.add_argument("--model", type=Path, default=Path("training/model.pth"), help="fine-tuned weights")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="weights that the embeddings were made with; searched for in checkpoints/ by default",
    )
    parser.add_argument(
        "--volumes",
        type=Path,
        help="folder that holds ACDC_training_volumes; two levels above the dataset by default",
    )
    parser.add_argument(
        "--split", choices=("val", "test"), nargs="+", default=["val"], help="splits whose patients are measured"
    )
    parser.add_argument("--out", type=Path, default=Path("training"), help="output folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
