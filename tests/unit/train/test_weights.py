"""How the images of a training were made is written down with it."""

import json
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.formats.files import write_table
from acdc_medsam.formats.png import write_png
from acdc_medsam.train.weights import describe_images


@pytest.mark.parametrize(
    ("provenance", "percentile"),
    [
        ({"configuration": {"normalize": {"percentile": 98.5}}}, 98.5),
        ({"configuration": {}}, None),
        ([], None),
        (None, None),
    ],
)
def test_images_are_described_by_the_dataset(tmp_path: Path, provenance: object, percentile: float | None) -> None:
    write_table(tmp_path / "manifest.tsv", ("slice", "split"), [{"slice": "a", "split": "val"}])
    write_png(tmp_path / "val/images/a.png", np.zeros((96, 96), np.uint8))
    if provenance is not None:
        (tmp_path / "provenance.json").write_text(json.dumps(provenance))

    facts = {"encoder": "lite_medsam", "precision": "tf32", "image_size": 96}
    assert describe_images(tmp_path, "lite_medsam", "tf32", None) == facts | {"percentile": percentile}
    assert describe_images(tmp_path, "lite_medsam", "tf32", 90) == facts | {"percentile": 90}
