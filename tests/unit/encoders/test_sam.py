import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from acdc_medsam.encoders.sam import PromptedModel, import_part, modeling


def test_an_imported_package_is_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("segment_anything")
    monkeypatch.setitem(sys.modules, "segment_anything", package)
    assert import_part("modeling") is modeling
    assert sys.modules["segment_anything"] is package


def test_only_the_image_encoder_is_built_without_weights() -> None:
    with torch.device("meta"):
        model = PromptedModel(nn.Linear(1000, 1000), 1024)
    assert not any(parameter.is_meta for parameter in model.prompt_encoder.parameters())
    assert all(parameter.is_meta for parameter in model.image_encoder.parameters())
