import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from acdc_medsam.encoders.sam import PromptedModel, import_part, modeling


def test_a_package_that_is_imported_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("segment_anything")
    monkeypatch.setitem(sys.modules, "segment_anything", package)
    assert import_part("modeling") is modeling
    assert sys.modules["segment_anything"] is package


def test_only_the_large_image_encoder_waits_for_its_weights() -> None:
    with torch.device("meta"):
        model = PromptedModel(nn.Linear(1000, 1000), 1024)
    assert not any(parameter.is_meta for parameter in model.prompt_encoder.parameters())
    assert all(parameter.is_meta for parameter in model.image_encoder.parameters())
