"""Draw the picture of the README: a slice of a synthetic patient, and the same with the outlines of its mask."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from acdc_medsam.files import index_files
from acdc_medsam.normalize import normalize_patient
from acdc_medsam.phantom import write_patient
from acdc_medsam.render import read_slices, resize_image, resize_label
from acdc_medsam.report import draw_contours

NORMAL = 4
"""Number of a patient of the group NOR."""

with tempfile.TemporaryDirectory() as folder:
    index = Path(folder, "h5", "index.tsv")
    patient = write_patient(Path(folder), NORMAL, seed=2026, in_plane=None, depth=None)
    normalize_patient(patient, index, percentile=99, on_invalid="stop")
    shown = list(read_slices(index_files(index)[0]))[3]
    image, mask = resize_image(shown.image, 1024), resize_label(shown.label, 1024)
    pair = Image.new("RGB", (1024, 512))
    for left, labels in ((0, np.zeros_like(mask)), (512, mask)):
        pair.paste(draw_contours(image, labels, size=512).convert("RGB"), (left, 0))
    pair.save(Path(__file__).with_name("example.png"), optimize=True)
