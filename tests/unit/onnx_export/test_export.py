"""The ONNX files against PyTorch and segment_anything, on a phantom and a real slice. They are made once."""

import importlib.util
import inspect
import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from acdc_medsam import onnx_export
from acdc_medsam.cli import main
from acdc_medsam.encoders import load_model, make_encoder, vit
from acdc_medsam.encoders.checkpoint import ARCHITECTURES
from acdc_medsam.encoders.decoder import to_labels
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.encoders.sam import PromptedModel, import_part, modeling
from acdc_medsam.encoders.tiny_vit import build_lite_medsam
from acdc_medsam.errors import AcdcError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.formats.nifti import read_nifti
from acdc_medsam.onnx_export import run
from acdc_medsam.onnx_export.parts import DECODER, ENCODER, NAMES, SEGMENTATION, Part, make_parts
from acdc_medsam.onnx_export.write import measure_differences, write_part
from acdc_medsam.stages.normalize import normalize_intensities
from acdc_medsam.stages.render import resize_image
from acdc_medsam.train.folder import FACTS

onnx = pytest.importorskip("onnx", reason="onnx is not installed; `make test` installs it")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; `make test` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed; `make test` installs it")

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/onnx.md").read_text(encoding="utf-8")
CPU = torch.device("cpu")
TOLERANCE = 1e-4
Array = npt.NDArray[Any]


def build_short() -> nn.Module:
    """Build LiteMedSAM with one block in each stage of its encoder, because each block takes seconds to record."""
    model: Any = build_lite_medsam()
    for stage in model.image_encoder.layers:
        stage.blocks = stage.blocks[:1]
    return cast(nn.Module, model)


def short_encoder() -> Any:
    """Replace LiteMedSAM by the model with the short encoder, as a context manager."""
    return patch.dict(ARCHITECTURES, lite_medsam=build_short)


@pytest.fixture(scope="module")
def model_file(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned model with the short encoder."""
    folder = Path(shutil.copytree(trained / "training", tmp_path_factory.mktemp("short") / "training"))
    weights = torch.load(folder / "model.pth", weights_only=True)
    torch.save({name: weights[name] for name in build_short().state_dict()}, folder / "model.pth")
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps(facts | {"model_sha256": sha256_file(folder / "model.pth")}))
    return folder / "model.pth"


@pytest.fixture(scope="module")
def model(model_file: Path) -> Any:
    with short_encoder():
        return load_model("lite_medsam", model_file)


@pytest.fixture(scope="module")
def folder(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files of the fine-tuned model; never written to."""
    out = tmp_path_factory.mktemp("exported") / "onnx"
    with short_encoder():
        assert main(["export-onnx", "--model", str(model_file), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES)
    return out


def compute(path: Path, **inputs: Any) -> dict[str, Array]:
    """Compute by onnxruntime: name of each output -> value."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: np.asarray(value) for name, value in inputs.items()})
    return dict(zip((output.name for output in session.get_outputs()), found, strict=True))


def largest_difference(one: Array, other: Tensor) -> float:
    assert one.shape == other.shape
    return float(np.abs(one - other.numpy()).max())


def middle_slice(scan: Path) -> Tensor:
    """Prepare the middle slice of a scan as the workflow does: (1, 1024, 1024) uint8."""
    volume = read_nifti(scan).voxels.T  # (Z, H, W)
    image = normalize_intensities(volume).image
    return torch.from_numpy(resize_image(image[len(image) // 2], 1024).copy())[None]


def check_slice(image: Tensor, model: Any, folder: Path) -> None:
    """Compare all three files with PyTorch on an image: embedding, masks without prompts, masks for a box."""
    embedding = make_encoder(model, ENCODERS["lite_medsam"], "float32", CPU).encode(image)
    embedded = compute(folder / ENCODER, image=image)["image_embeddings"]
    assert largest_difference(embedded, embedding) <= TOLERANCE

    found = compute(folder / SEGMENTATION, image_embeddings=embedded)
    logits = decode_by_segment_anything(model, embedding, model.prompt_encoder(None, None, None))[:, 1:]
    assert largest_difference(found["logits"], logits) <= TOLERANCE
    labels = torch.stack([to_labels(each) for each in logits])
    assert found["labels"].dtype == np.uint8 and (found["labels"] != labels.numpy()).mean() <= 1e-5

    box = torch.tensor([[300.0, 280, 700, 650]])
    expected = decode_by_segment_anything(model, embedding, model.prompt_encoder(None, box / 4, None))
    prompted = decode_by_onnxruntime(folder, embedded, box.reshape(1, 2, 2), [[2, 3]], (1024, 1024))
    assert largest_difference(prompted["masks"], expected) <= TOLERANCE


def decode_by_segment_anything(model: Any, embedding: Tensor, prompts: tuple[Tensor, Tensor]) -> Tensor:
    """Decode an image by segment_anything's own mask decoder: logits (1, 4, 1024, 1024)."""
    low, _ = model.mask_decoder.predict_masks(embedding, model.prompt_encoder.get_dense_pe(), *prompts)
    return nn.functional.interpolate(low, (1024, 1024), mode="bilinear", align_corners=False)


def decode_by_onnxruntime(
    folder: Path, embedding: Any, points: Any, labels: Any, size: tuple[int, int], mask: Tensor | None = None
) -> dict[str, Array]:
    return compute(
        folder / DECODER,
        image_embeddings=embedding,
        point_coords=points,
        point_labels=np.asarray(labels, np.float32),
        mask_input=np.zeros((1, 1, 256, 256), np.float32) if mask is None else mask,
        has_mask_input=np.asarray([mask is not None], np.float32),
        orig_im_size=np.asarray(size, np.float32),
    )


def test_a_phantom_is_segmented_as_by_pytorch(raw: Path, model: Any, folder: Path) -> None:
    check_slice(middle_slice(raw / "training/patient001/patient001_frame01.nii.gz"), model, folder)


def test_a_real_slice_is_segmented_as_by_pytorch(sample: Path, model: Any, folder: Path) -> None:
    check_slice(middle_slice(sample / "training/patient001/patient001_frame01.nii.gz"), model, folder)


def test_several_embeddings_are_segmented_at_once(folder: Path) -> None:
    embeddings = torch.randn(3, 256, 64, 64, generator=torch.Generator().manual_seed(1))
    together = compute(folder / SEGMENTATION, image_embeddings=embeddings)
    alone = [compute(folder / SEGMENTATION, image_embeddings=one[None])["logits"] for one in embeddings]
    np.testing.assert_allclose(together["logits"], np.concatenate(alone), atol=TOLERANCE)
    labels = torch.stack([to_labels(each) for each in torch.from_numpy(together["logits"])])
    np.testing.assert_array_equal(together["labels"], labels)
    assert len(labels.unique()) >= 2, "the small training has taught the model this much"


def test_points_a_mask_and_an_image_that_is_not_square(model: Any, folder: Path) -> None:
    embedding, mask = torch.randn(1, 256, 64, 64), torch.randn(1, 1, 256, 256)
    points, labels = torch.tensor([[[400.0, 300], [10, 700]]]), torch.tensor([[1.0, 0]])
    prompts = model.prompt_encoder((points / 4, labels), None, mask)  # which adds a point of no kind
    low, quality = model.mask_decoder.predict_masks(embedding, model.prompt_encoder.get_dense_pe(), *prompts)
    # For segment_anything, 1024 is the size of the encoder's input, to which masks are resized first.
    sam = cast(Any, SimpleNamespace(image_encoder=SimpleNamespace(img_size=1024)))
    masks = modeling.Sam.postprocess_masks(sam, low, (768, 1024), (300, 400))

    padded = torch.cat([points, torch.zeros(1, 1, 2)], 1)
    found = decode_by_onnxruntime(folder, embedding, padded, [[1, 0, -1]], (300, 400), mask)
    assert largest_difference(found["iou_predictions"], quality) <= TOLERANCE
    assert largest_difference(found["low_res_masks"], low) <= TOLERANCE
    assert largest_difference(found["masks"], masks) <= 10 * TOLERANCE, "positions of pixels are rounded"


def test_the_decoder_has_the_inputs_and_outputs_of_segment_anything(folder: Path) -> None:
    graph = onnx.load(folder / DECODER).graph
    arguments = list(inspect.signature(import_part("utils.onnx").SamOnnxModel.forward).parameters)
    assert [value.name for value in graph.input] == arguments[1:]
    assert [value.name for value in graph.output] == ["masks", "iou_predictions", "low_res_masks"]
    sizes = [axis.dim_param or axis.dim_value for axis in graph.output[0].type.tensor_type.shape.dim]
    assert sizes == [1, 4, "height", "width"]


def test_each_file_says_what_it_is_and_nothing_of_this_machine(folder: Path, model_file: Path) -> None:
    for name in NAMES:
        graph = onnx.load(folder / name)
        facts = {entry.key: entry.value for entry in graph.metadata_props}
        assert facts["encoder"] == "lite_medsam" and facts["model_sha256"] == sha256_file(model_file)
        assert facts["license"] == "CC BY-NC-SA 4.0" and "acdc-medsam" in facts["software"]
        assert (graph.ir_version, graph.opset_import[0].version) == (8, 18), "older onnxruntimes read it"
        assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
        data = (folder / name).read_bytes()
        assert str(ROOT).encode() not in data and sys.prefix.encode() not in data
    assert "uint8" in {entry.key: entry.value for entry in onnx.load(folder / ENCODER).metadata_props}["image"]


def test_the_example_of_the_page_needs_no_torch(
    trained: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "data/ACDC/val/images", tmp_path / "data/ACDC/val/images")
    (tmp_path / "onnx").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    segmentation, box = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(segmentation, names)
    exec(box, names)
    assert re.fullmatch(
        r"patient\d+_frame\d+_slice_\d+ {'RV': \d+, 'MYO': \d+, 'LV': \d+}\n.*\n", capsys.readouterr().out
    )
    assert names["labels"].shape == (1, 1024, 1024) and names["masks"].shape == (1, 4, 1024, 1024)


def small_sam() -> nn.Module:
    """SAM with a ViT of two narrow blocks, one with windows and one without, and random weights."""
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, eps=1e-6)
    sizes = {"img_size": 1024, "embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 14}
    encoder = modeling.ImageEncoderViT(**sizes, norm_layer=norm, use_rel_pos=True, global_attn_indexes=(1,))
    vit.replace_layers(encoder)
    for name, parameter in encoder.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5 if "pos" in name else 0.1)
    return PromptedModel(encoder, 1024).eval().requires_grad_(False)


def test_a_vit_is_exported_for_several_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        vit, "QUERY_BLOCK", 1500
    )  # three blocks of all tokens instead of 16, which take longer to record
    onnx_export.silence_libraries()
    sam = small_sam()
    part = make_parts(sam, ENCODERS["sam_vit_b"], fine_tuned=False)[0]
    write_part(part, tmp_path / part.name, 18, {"software": "test"})
    assert len(onnx.load(tmp_path / part.name).graph.node) < 600

    images = torch.stack([part.inputs["image"][0], part.inputs["image"][0] // 3])
    expected = make_encoder(sam, ENCODERS["sam_vit_b"], "float32", CPU).encode(images)
    found = compute(tmp_path / part.name, image=images)["image_embeddings"]
    assert largest_difference(found, expected) <= TOLERANCE and expected.abs().max() > 0.5


class Doubled(nn.Module):
    """Something that is quickly exported."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> Part:
    """A model's only part, in place of the three."""
    part = Part(ENCODER, Doubled(), {"x": torch.ones(1, 2)}, ("y",), {}, {})
    monkeypatch.setattr(run, "make_parts", lambda *arguments: [part])
    return part


def test_files_of_another_model_are_replaced(checkpoint: Path, doubled: Part, tmp_path: Path) -> None:
    for name in (*NAMES, f"{ENCODER}.data", "notes.txt"):
        (tmp_path / name).write_text("older")
    assert run.export_model(checkpoint, tmp_path) == [tmp_path / ENCODER]
    assert sorted(path.name for path in tmp_path.iterdir()) == [ENCODER, "notes.txt"]
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / ENCODER).metadata_props}
    assert facts["license"].startswith("that of the released weights") and "fine_tuned_on" not in facts
    assert measure_differences(doubled, tmp_path / ENCODER) == {"y": 0}


def test_a_file_that_differs_from_pytorch_is_not_written(
    checkpoint: Path, doubled: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubled.graph, "forward", lambda x: 2 * x + 0.002 * (not torch.compiler.is_compiling()))
    (tmp_path / DECODER).write_text("older")
    with pytest.raises(AcdcError, match=r"encoder.onnx was not written: .* by more than 0.001 \(y 2.0e-03\); choose"):
        run.export_model(checkpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DECODER]


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnxr" in name else object())
    assert main(["export-onnx"]) == 1
    assert "the export to ONNX needs onnxruntime: pip install" in capsys.readouterr().err
