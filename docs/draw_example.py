"""Draw the picture of the README: a slice of a synthetic patient, and the same with the outlines of its mask."""

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from acdc_medsam.acdc.labels import COLORS
from acdc_medsam.formats.index import read_records
from acdc_medsam.measures.outlines import find_outlines
from acdc_medsam.phantom.cohort import write_patient
from acdc_medsam.stages.normalize import normalize_patient
from acdc_medsam.stages.render import read_slices, resize_image, resize_label

NORMAL = 4
"""Number of a patient of the group NOR."""

with tempfile.TemporaryDirectory() as folder:
    index = Path(folder, "h5", "index.tsv")
    patient = write_patient(Path(folder), NORMAL, seed=2026, in_plane=None, depth=None)
    normalize_patient(patient, index, percentile=99, on_invalid="stop")
    shown = list(read_slices(read_records(index)[0][0].path))[3]
    image, mask = resize_image(shown.image, 1024), resize_label(shown.label, 1024)
    # Drawn at twice the size, so that the lines are smooth.
    pair = Image.new("RGB", (2048, 1024))
    for left in (0, 1024):
        pair.paste(Image.fromarray(image).convert("RGB"), (left, 0))
    for structure, outlines in find_outlines(mask).items():
        for points in outlines:
            line = [(1024 + 1024 * x, 1024 * y) for x, y in points]
            ImageDraw.Draw(pair).line(line, COLORS[structure], width=5, joint="curve")
    pair.resize((1024, 512), Image.Resampling.LANCZOS).save(Path(__file__).with_name("example.png"), optimize=True)
