"""Prompts, the decoder's masks beside segment_anything's own, and the comparison with the reference by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from acdc_medsam.encoders.decoder import PROMPT_SIZE, enlarge
from acdc_medsam.errors import CheckpointError, DatasetError
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.view.decoding import UNKNOWN, Decoder, Prompt, answer, dice, find_decoder, parse_prompt
from small_dataset import SmallDataset
from viewing import random_decoder

POINTS = [[100.0, 900.0], [512.0, 512.0]]
BOX = [200.0, 300.0, 600.0, 700.0]
TRUTH = np.array([[1, 1, 0, 0], [0, 2, 2, 0], [0, 2, 2, 0], [3, 0, 0, 0]], np.uint8)


@pytest.mark.parametrize(
    ("points", "box"), [(POINTS, None), (POINTS, BOX), ([], BOX), ([], None)], ids=["points", "both", "box", "neither"]
)
def test_masks_are_those_of_segment_anything(points: list[list[float]], box: list[float] | None) -> None:
    decoder = random_decoder()
    model = cast(Any, decoder.model)
    embedding = torch.randn(EMBEDDING_SHAPE, generator=torch.Generator().manual_seed(1))
    inside = [True, False][: len(points)]
    scale = 256 / PROMPT_SIZE  # the images of LiteMedSAM are smaller
    given = (torch.tensor([points]) * scale, torch.tensor([[1, 0]])) if points else None
    sparse, dense = model.prompt_encoder(given, torch.tensor([box]) * scale if box else None, None)

    for fine_tuned in (False, True):
        expected, _ = model.mask_decoder(embedding[None], decoder.encoding, sparse, dense, multimask_output=fine_tuned)
        asked = Decoder(decoder.name, decoder.model, decoder.encoding, fine_tuned)
        corners = box and [box[2], box[1], box[0], box[3]]  # dragged from the right to the left
        found = asked.predict(embedding, Prompt(points, inside, corners), 64)
        torch.testing.assert_close(found, enlarge(expected, 64)[0])

    of_structure = asked.predict(embedding, Prompt(points, inside, box, "LV"), 64)
    torch.testing.assert_close(of_structure, found[2:])


def ask(logits: torch.Tensor, structure: str | None = None, truth: np.ndarray[Any, Any] = TRUTH) -> Any:
    """Compare logits with the reference."""
    decoder = cast(Decoder, SimpleNamespace(predict=lambda embedding, prompt, size: logits))
    return answer(decoder, torch.zeros(EMBEDDING_SHAPE), truth, Prompt(structure=structure))


def test_a_mask_is_compared_with_the_structure_that_it_fits_best() -> None:
    logits = torch.full((1, 4, 4), -1.0)
    logits[0, 1:3, :3] = 1  # six pixels, four of which are myocardium
    found = ask(logits)
    assert found.dice == {"MYO": pytest.approx(2 * 4 / (6 + 4))}
    assert found.label.tolist() == [[0] * 4, [2, 2, 2, 0], [2, 2, 2, 0], [0] * 4]

    chosen = ask(logits, "RV")
    assert chosen.dice == {"RV": 0} and chosen.label.max() == 1
    assert ask(-logits * (torch.arange(4) == 3), truth=TRUTH).label.max() == UNKNOWN
    assert dice(TRUTH > 3, TRUTH > 3) is None


def test_masks_of_all_structures_do_not_overlap() -> None:
    logits = torch.stack([torch.from_numpy(2.0 * np.equal(TRUTH, value) - 1) for value in (1, 2, 3)])
    logits[2, 1, 1] = 3  # more likely left ventricle than myocardium
    found = ask(logits)
    assert found.dice == {"RV": 1, "MYO": pytest.approx(2 * 3 / 7), "LV": pytest.approx(2 / 3)}
    assert found.label[1, 1] == 3


def test_a_prompt_is_read() -> None:
    given = {"points": [[0, 1024]], "inside": [False], "box": [4, 3, 2, 1], "structure": "MYO"}
    assert parse_prompt(json.dumps(given).encode()) == Prompt([[0, 1024]], [False], [4, 3, 2, 1], "MYO")
    assert parse_prompt(b"{}") == Prompt([])


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "[]", "1", "{", '{"other": 1}', '{"points": 1}', '{"points": [1]}', '{"box": [1, 2, 3]}', "\\ud800"),
        *('{"box": [0, 0, 1, NaN]}', '{"box": [0, 0, 1, Infinity]}', '{"box": [-1, 0, 1, 1]}', '{"box": {}}'),
        *('{"points": [[1, 2]]}', '{"points": [[1, 2]], "inside": [1]}', '{"structure": "LA"}', '{"structure": []}'),
        *('{"box": [0, 0, 1, 1' + "0" * 400 + "]}", "[" * 16000, '{"inside": 1}'),
        json.dumps({"points": [[1, 2]] * 65, "inside": [True] * 65}),
    ],
)
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"this is no prompt|a prompt has one of RV, MYO, LV"):
        parse_prompt(wrong.encode())


def test_without_weights_there_is_a_reason(small: SmallDataset, tmp_path: Path) -> None:
    assert "no checkpoint that made the embeddings" in str(find_decoder(small.data, None, None, []))
    with pytest.raises(CheckpointError, match="no checkpoint that made the embeddings"):
        find_decoder(small.data, None, tmp_path / "model.pth", [])
    with pytest.raises(CheckpointError, match=r"other\.pth is missing"):
        find_decoder(small.data, tmp_path / "other.pth", None, [])

    small.publish(embeddings=False)
    assert "names no embeddings" in str(find_decoder(small.data, None, None, []))
    with pytest.raises(DatasetError, match="names no embeddings"):
        find_decoder(small.data, None, tmp_path / "model.pth", [])
