"""What is learned: RV, MYO and LV in three masks of SAM's decoder at once, with a structure's box or without prompts.

A box cannot say that the myocardium is a ring around a ventricle that the same box holds. So what is wanted is said by
where it is read: of the decoder's four masks the three that SAM gives with ``multimask_output=True`` become those of
the three structures (CLASS_TOKENS). Each starts as a copy of the one that answers boxes. Every weight keeps its
name and shape, so the result is a checkpoint of the model like any other.
"""

import math
from collections import defaultdict
from typing import Any, cast

import pytorch_lightning as pl
import torch
from monai.losses import DiceCELoss
from monai.metrics import compute_dice
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.encoders.decoder import CLASS_TOKENS, decode, encode_boxes, no_prompts

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises from 0; then it falls as a cosine does."""


def start_as_single_mask(decoder: nn.Module) -> None:
    """Make the three masks of the structures copies of the decoder's answer to boxes, which they refine."""
    sam = cast(Any, decoder)
    with torch.no_grad():
        sam.mask_tokens.weight[1:] = sam.mask_tokens.weight[0]
    for network in sam.output_hypernetworks_mlps[1:]:
        network.load_state_dict(sam.output_hypernetworks_mlps[0].state_dict())


class FineTuning(pl.LightningModule):
    """Train a mask decoder; prompt encoder and embeddings stay as they are."""

    def __init__(self, model: nn.Module, encoding: Tensor, learning_rate: float, identity: str) -> None:
        """Take the model's own decoder, which is trained in place.

        Args:
            model: with ``prompt_encoder`` and ``mask_decoder``.
            encoding: positional encoding (1, 256, 64, 64).
            learning_rate: the highest.
            identity: of data and options, kept in Lightning's checkpoints.
        """
        super().__init__()
        self.decoder = cast(nn.Module, model.mask_decoder).train().requires_grad_(True)
        self.prompt_encoder = cast(nn.Module, model.prompt_encoder)
        # Predicts the quality of a mask, for which nothing here asks.
        cast(nn.Module, self.decoder.iou_prediction_head).requires_grad_(False)
        self.encoding: Tensor
        self.register_buffer("encoding", encoding, persistent=False)
        self.learning_rate, self.identity = learning_rate, identity
        self.of_labels = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        self.of_mask = DiceCELoss(sigmoid=True)
        self.found = defaultdict[str, list[Tensor]](list)

    def without_prompts(self, embeddings: Tensor) -> Tensor:
        """Logits (B, 4, 256, 256) of background, which are 0, and RV, MYO, LV for embeddings (B, 256, 64, 64)."""
        prompts = no_prompts(self.prompt_encoder, len(embeddings))
        logits = decode(self.decoder, embeddings, self.encoding, *prompts)[:, 1:].float()
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)

    def with_boxes(self, embeddings: Tensor, boxes: Tensor, structures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, 256, 256) by the structure's own mask and by the one for boxes.

        ``boxes`` (B, 4) are in pixels of 1024, ``structures`` (B,) are places in LABELS.
        """
        prompts = encode_boxes(self.prompt_encoder, boxes)
        logits = decode(self.decoder, embeddings, self.encoding, *prompts).float()
        own = torch.tensor(list(CLASS_TOKENS.values()), device=logits.device)[structures]
        return logits[torch.arange(len(logits), device=logits.device), own, None], logits[:, :1]

    def training_step(self, batch: SliceItem, number: int) -> Tensor:
        """Loss of a batch: all structures without a prompt, and one of each slice's structures with its box."""
        embeddings, labels = batch["embedding"], batch["mask"].long()
        loss: Tensor = self.of_labels(self.without_prompts(embeddings), labels[:, None])
        shown = batch["present"].any(1)
        if shown.any():
            structures = self._in_turn(batch["present"][shown], number)
            boxes = batch["boxes"][shown].gather(1, structures[:, None, None].expand(-1, 1, 4))[:, 0]
            truth = (labels[shown] == structures[:, None, None] + 1)[:, None].float()
            own, single = self.with_boxes(embeddings[shown], boxes, structures)
            loss = loss + self.of_mask(own, truth) + 0.5 * self.of_mask(single, truth)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def _in_turn(self, present: Tensor, number: int) -> Tensor:
        """For each slice a structure that it shows, another one in each epoch: (B, 3) bool -> (B,) places in LABELS."""
        chosen = [row.nonzero()[:, 0] for row in present]
        turn = number + self.current_epoch
        return torch.stack([places[(turn + place) % len(places)] for place, places in enumerate(chosen)])

    def validation_step(self, batch: SliceItem) -> None:
        """Dice of each structure in each slice that shows it, without prompts and with its box."""
        embeddings, labels = batch["embedding"], batch["mask"]
        truth = torch.stack([labels == value for value in LABELS.values()], dim=1)
        best = self.without_prompts(embeddings).argmax(1)
        self._collect("dice", torch.stack([best == value for value in LABELS.values()], dim=1), truth)
        for number, structure in enumerate(LABELS):
            shown = batch["present"][:, number]
            if shown.any():
                structures = torch.full((int(shown.sum()),), number, device=labels.device)
                own, _ = self.with_boxes(embeddings[shown], batch["boxes"][shown, number], structures)
                dice = compute_dice(own > 0, truth[shown, number, None])
                self._keep(f"box_dice_{structure}", dice[:, 0])

    def _collect(self, name: str, predicted: Tensor, truth: Tensor) -> None:
        dice = compute_dice(predicted, truth)
        for place, structure in enumerate(LABELS):
            self._keep(f"{name}_{structure}", dice[:, place])

    def _keep(self, name: str, dice: Tensor) -> None:
        """Keep the values (B,) of a measure that are known: a slice whose mask shows nothing of it has none."""
        known = [value for value in dice if not value.isnan()]
        if known:
            self.found[name].extend(known)

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each structure, and ``val_dice``, their mean, by which the best epoch is chosen."""
        means = {name: torch.stack(values).mean() for name, values in sorted(self.found.items())}
        self.found.clear()
        self.log_dict({f"val_{name}": value for name, value in means.items()})
        self.log("val_dice", torch.stack(list(means.values())).mean())

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up and cosine."""
        steps = int(self.trainer.estimated_stepping_batches)
        warm = max(1, round(WARM_UP * steps))

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

        learned = [parameter for parameter in self.decoder.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=self.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down what the checkpoint is of."""
        checkpoint["identity"] = self.identity
