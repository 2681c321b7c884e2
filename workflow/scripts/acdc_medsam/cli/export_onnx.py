"""``acdc-medsam export-onnx``: a model for onnxruntime."""

import logging
from pathlib import Path

import click

from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.onnx_export import OPSETS, require_libraries

EPILOG = """\b
Examples:
  acdc-medsam export-onnx --model training/model.pth --out onnx
  acdc-medsam export-onnx --model checkpoints/medsam_vit_b.pth --encoder medsam_vit_b --out onnx
"""


@click.command(epilog=EPILOG, context_settings={"show_default": True})
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=Path("training/model.pth"),
    help="Trained model, or released weights.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("onnx"), help="Output folder.")
@click.option(
    "--encoder", type=click.Choice(tuple(ENCODERS)), help="Encoder of the model; told by its weights if possible."
)
@click.option("--fine-tuned", is_flag=True, help="The model is fine-tuned, although no training.json is beside it.")
@click.option("--opset", type=click.IntRange(*OPSETS), default=OPSETS[0], help="Version of ONNX's operators.")
def command(model: Path, out: Path, encoder: str | None, fine_tuned: bool, opset: int) -> None:
    """Export a model to ONNX.

    The image encoder, the decoder with SAM's inputs, and, for a fine-tuned model, the segmentation without prompts
    become files for onnxruntime. Each is compared with PyTorch on random input.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    require_libraries()
    from acdc_medsam.onnx_export.run import export_model

    files = export_model(model, out, encoder, fine_tuned, opset)
    click.echo(f"{', '.join(file.name for file in files)} are in {out}")
