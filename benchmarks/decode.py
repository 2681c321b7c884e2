"""What users do with the dataset: a plain PyTorch Dataset, and masks decoded from embeddings with boxes."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset


class PlainDataset(Dataset[tuple[Tensor, Tensor, Tensor, str]]):
    """The Dataset that fine-tuning notebooks write: embeddings by listing, images and masks by the same stem."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = sorted((folder / "image_embeddings").glob("*.pt"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor, str]:
        path = self.files[number]
        embedding = torch.load(path, weights_only=True)
        image, mask = (
            torch.from_numpy(np.array(Image.open(self.folder / kind / f"{path.stem}.png")))
            for kind in ("images", "masks")
        )
        return embedding, image, mask, path.stem


def box_of(mask: Tensor) -> Tensor:
    """Tight box (x0, y0, x1, y1) of a boolean mask (H, W)."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]).float()


@torch.inference_mode()
def decode(model: nn.Module, embedding: Tensor, encoding: Tensor, box: Tensor, size: int) -> Tensor:
    """Mask (size, size) that the decoder gives for a box in pixels of that size."""
    prompts = model.prompt_encoder
    scaled = box * (prompts.input_image_size[0] / size)
    sparse, dense = prompts(points=None, boxes=scaled[None], masks=None)
    logits, _ = model.mask_decoder(embedding[None], encoding, sparse, dense, multimask_output=False)
    return F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)[0, 0] > 0


def dice(first: Tensor, second: Tensor) -> float:
    """Dice coefficient of two boolean masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))
