"""The learning task: three masks of SAM's decoder become those of RV, MYO and LV, with boxes and without prompts.

A box cannot say that the myocardium is a ring: the ventricle inside the ring fills the same box. So the structure is
not chosen by the prompt but by the mask that is read. Of the decoder's four masks, the three that SAM returns with
``multimask_output=True`` become those of the three structures (CLASS_TOKENS). Each starts as a copy of the mask that
answers boxes. Every weight keeps its name and shape, so the result is a checkpoint of the model like any other.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from monai.losses import DiceCELoss
from monai.metrics import compute_dice
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.encoders import load_model
from acdc_medsam.encoders.decoder import CLASS_TOKENS, decode, encode_boxes, no_prompts

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises linearly; then it falls along a cosine."""


def start_as_single_mask(decoder: nn.Module) -> None:
    """Initialize the masks of the three structures as copies of the decoder's answer to boxes."""
    sam = cast(Any, decoder)
    with torch.no_grad():
        sam.mask_tokens.weight[1:] = sam.mask_tokens.weight[0]
    for network in sam.output_hypernetworks_mlps[1:]:
        network.load_state_dict(sam.output_hypernetworks_mlps[0].state_dict())


def load_trainable(name: str, checkpoint: Path) -> nn.Module:
    """Load a model whose mask decoder can be trained in place, and whose masks start as the answer to a box.

    Args:
        name: The encoder's name, a key of ENCODERS.
        checkpoint: The released weights.
    """
    sam = load_model(name, checkpoint)
    decoder = cast(nn.Module, sam.mask_decoder)
    # Weights are mapped from the checkpoint; those to be trained need memory of their own.
    decoder.load_state_dict({key: value.clone() for key, value in decoder.state_dict().items()}, assign=True)
    start_as_single_mask(decoder)
    return sam


def make_schedule(optimizer: torch.optim.Optimizer, steps: int) -> SequentialLR:
    """Make the schedule of the learning rate: linear warm-up to the optimizer's rate, then a cosine down to 0.

    Args:
        optimizer: The optimizer, with the peak learning rate.
        steps: The number of steps of the whole training.
    """
    warm_up = max(1, round(WARM_UP * steps))
    # The first step already has a share of the rate, and the last one of the warm-up has all of it.
    rise = LinearLR(optimizer, start_factor=1 / warm_up, total_iters=warm_up - 1)
    fall = CosineAnnealingLR(optimizer, T_max=max(1, steps - warm_up))
    return SequentialLR(optimizer, [rise, fall], milestones=[warm_up])


class FineTuning(pl.LightningModule):
    """Trains a mask decoder. The prompt encoder and the embeddings are not trained."""

    def __init__(self, model: nn.Module, encoding: Tensor, learning_rate: float, identity: str) -> None:
        """Take the model's own decoder, which is trained in place.

        Args:
            model: The model, with ``prompt_encoder`` and ``mask_decoder``.
            encoding: The positional encoding (1, 256, 64, 64).
            learning_rate: The peak learning rate.
            identity: The identity of data and options, which Lightning's checkpoints keep.
        """
        super().__init__()
        self.decoder = cast(nn.Module, model.mask_decoder).train().requires_grad_(True)
        self.prompt_encoder = cast(nn.Module, model.prompt_encoder)
        # This head predicts the quality of a mask, which no loss here depends on.
        cast(nn.Module, self.decoder.iou_prediction_head).requires_grad_(False)

        self.encoding: Tensor
        self.register_buffer("encoding", encoding, persistent=False)
        self.learning_rate = learning_rate
        self.identity = identity

        # A structure may be absent from a slice, so its Dice is computed over the batch.
        self.label_loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        self.mask_loss = DiceCELoss(sigmoid=True)
        self.dice_values = defaultdict[str, list[Tensor]](list)

    def without_prompts(self, embeddings: Tensor) -> Tensor:
        """Predict all structures from embeddings (B, 256, 64, 64) alone.

        Returns:
            Logits (B, 4, 256, 256) of the background, which are 0, and of RV, MYO and LV.
        """
        prompts = no_prompts(self.prompt_encoder, len(embeddings))
        # Losses are computed in float32, even if the decoder computes in lower precision.
        logits = decode(self.decoder, embeddings, self.encoding, *prompts)[:, 1:].float()
        # The decoder has no mask for the background, so its logit is fixed.
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)

    def with_boxes(self, embeddings: Tensor, boxes: Tensor, structures: Tensor) -> tuple[Tensor, Tensor]:
        """Predict one structure of each slice from its box.

        Args:
            embeddings: The embeddings (B, 256, 64, 64).
            boxes: The boxes (B, 4) in pixels of 1024.
            structures: The indices (B,) of the structures in LABELS.

        Returns:
            Logits (B, 1, 256, 256) of the structure's own mask, and of the mask that answers boxes.
        """
        prompts = encode_boxes(self.prompt_encoder, boxes)
        logits = decode(self.decoder, embeddings, self.encoding, *prompts).float()
        tokens = torch.tensor(list(CLASS_TOKENS.values()), device=logits.device)[structures]
        own = logits[torch.arange(len(logits), device=logits.device), tokens, None]
        return own, logits[:, :1]

    def training_step(self, batch: SliceItem, batch_index: int) -> Tensor:
        """Compute the loss of a batch: all structures without a prompt, and one structure of each slice by its box."""
        embeddings = batch["embedding"]
        labels = batch["mask"].long()
        loss: Tensor = self.label_loss(self.without_prompts(embeddings), labels[:, None])

        # A slice without structures has no box.
        shown = batch["present"].any(1)
        if shown.any():
            structures = self._choose_structures(batch["present"][shown], batch_index)
            boxes = batch["boxes"][shown].gather(1, structures[:, None, None].expand(-1, 1, 4))[:, 0]
            truth = (labels[shown] == structures[:, None, None] + 1)[:, None].float()
            own, single = self.with_boxes(embeddings[shown], boxes, structures)
            loss = loss + self.mask_loss(own, truth) + 0.5 * self.mask_loss(single, truth)

        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def _choose_structures(self, present: Tensor, batch_index: int) -> Tensor:
        """Choose a structure that each slice shows, a different one in each epoch.

        Args:
            present: Which structures the slices show, (B, 3) bool.
            batch_index: The index of the batch in its epoch.

        Returns:
            The indices (B,) of the structures in LABELS.
        """
        # Slices show different numbers of structures, so each one cycles through its own.
        choices = [row.nonzero()[:, 0] for row in present]
        turn = batch_index + self.current_epoch
        return torch.stack([indices[(turn + index) % len(indices)] for index, indices in enumerate(choices)])

    def validation_step(self, batch: SliceItem) -> None:
        """Compute the Dice of each structure in each slice that shows it, without prompts and with its box."""
        embeddings = batch["embedding"]
        labels = batch["mask"]
        truth = torch.stack([labels == value for value in LABELS.values()], dim=1)

        predicted = self.without_prompts(embeddings).argmax(1)
        masks = torch.stack([predicted == value for value in LABELS.values()], dim=1)
        dice = compute_dice(masks, truth)
        for index, structure in enumerate(LABELS):
            self._collect(f"dice_{structure}", dice[:, index])

        for index, structure in enumerate(LABELS):
            shown = batch["present"][:, index]
            if shown.any():
                structures = torch.full((int(shown.sum()),), index, device=labels.device)
                own, _ = self.with_boxes(embeddings[shown], batch["boxes"][shown, index], structures)
                box_dice = compute_dice(own > 0, truth[shown, index, None])
                self._collect(f"box_dice_{structure}", box_dice[:, 0])

    def _collect(self, name: str, dice: Tensor) -> None:
        """Collect the values (B,) that are defined: Dice is NaN for a slice whose mask does not show the structure."""
        defined = [value for value in dice if not value.isnan()]
        # No empty entry is made, because its mean would be NaN.
        if defined:
            self.dice_values[name].extend(defined)

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each structure, and their mean ``val_dice``, which the best epoch is chosen by."""
        means = {name: torch.stack(values).mean() for name, values in sorted(self.dice_values.items())}
        self.dice_values.clear()
        self.log_dict({f"val_{name}": value for name, value in means.items()})
        self.log("val_dice", torch.stack(list(means.values())).mean())

    def configure_optimizers(self) -> Any:
        """Make the optimizer and its schedule, which advances with every step."""
        trained = [parameter for parameter in self.decoder.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=0.01)
        schedule = make_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the identity of the training in the checkpoint."""
        checkpoint["identity"] = self.identity
