"""Measure the accuracy and speed of each precision on a dataset that the workflow made.

    python benchmarks/precision.py --dataset data/ACDC --checkpoint checkpoints/lite_medsam.pth

For each precision, the output is the seconds per image, the difference of the embeddings from those in the first
precision (the largest one relative to the largest value, and the root mean square relative to the root mean square),
and the mean Dice of the decoder's masks for the structures' boxes, over all slices that show the structure.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data import tight_box
from acdc_medsam.encoders import load_model, make_encoder, positional_encoding
from acdc_medsam.encoders.decoder import PROMPT_SIZE, decode_box
from acdc_medsam.encoders.devices import keep_freed_memory
from acdc_medsam.encoders.registry import ENCODERS, PRECISIONS
from acdc_medsam.evaluate.metrics import dice_coefficient


def read_image(path: Path) -> Tensor:
    """Read an image or mask as (H, W) uint8."""
    return torch.from_numpy(np.array(Image.open(path)))


def mean_dice(model: nn.Module, embeddings: list[Tensor], masks: list[Tensor]) -> dict[str, float]:
    """Compute each structure's mean Dice of the decoder's answers to tight boxes."""
    encoding = positional_encoding(model)
    dice = defaultdict(list)
    for embedding, mask in zip(embeddings, masks, strict=True):
        for structure, value in LABELS.items():
            truth = mask == value
            if truth.any():
                box = tight_box(truth) * (PROMPT_SIZE / len(mask))
                predicted = decode_box(model, embedding, encoding, box, 0, len(mask)) > 0
                dice[structure].append(dice_coefficient(predicted.numpy(), truth.numpy()))
    return {structure: float(np.mean(values)) for structure, values in dice.items()}


def measure(name: str, checkpoint: Path, device: torch.device, precisions: list[str], paths: list[Path]) -> list[Any]:
    """Encode the images in each precision, and compare the embeddings with those of the first precision."""
    images = [read_image(path)[None] for path in paths]
    masks = [read_image(path.parents[1] / "masks" / path.name) for path in paths]
    # The workflow's jobs do the same.
    if device.type == "cpu":
        keep_freed_memory()

    rows: list[dict[str, Any]] = []
    exact = Tensor()
    for precision in precisions:
        encoder = make_encoder(load_model(name, checkpoint), ENCODERS[name], precision, device)
        # The first image is not timed.
        encoder.encode(images[0])

        started = time.perf_counter()
        embeddings = [encoder.encode(image)[0].cpu() for image in images]
        seconds = (time.perf_counter() - started) / len(images)

        together = torch.stack(embeddings)
        exact = exact if rows else together
        error = together - exact
        row = {
            "precision": precision,
            "seconds": seconds,
            "speedup": rows[0]["seconds"] / seconds if rows else 1.0,
            "relative_difference": (error.abs().max() / exact.abs().max()).item(),
            "relative_difference_rms": (error.norm() / exact.norm()).item(),
            **{
                f"dice_{key}": value
                for key, value in mean_dice(load_model(name, checkpoint), embeddings, masks).items()
            },
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Read the command line, measure, and print one JSON object per precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("data/ACDC"))
    parser.add_argument("--model", choices=list(ENCODERS), default="lite_medsam")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/lite_medsam.pth"))
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    parser.add_argument("--every", type=int, default=1, help="use only every n-th image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paths = sorted(options.dataset.glob("*/images/*.png"))[:: options.every]
    if not paths:
        parser.error(f"there are no images in {options.dataset}/*/images")
    measure(options.model, options.checkpoint, options.device, options.precisions, paths)


if __name__ == "__main__":
    main()
