"""Contents of a report with known measures, in which tests plant unusual values."""

from pathlib import Path

import numpy as np

from acdc_medsam.acdc.labels import GROUPS, PHASES
from acdc_medsam.acdc.naming import slice_name, volume_name
from acdc_medsam.measures.records import BINS, RAW_UNITS, REGIONS, Measures
from acdc_medsam.report.contents import Contents

SLICES = 6
"""Number of slices in each of the two frames of a patient."""


def make_contents(patients: int = 5) -> Contents:
    """Make patients of alternating groups, with smooth measures and random embeddings. The last patient is in val."""
    random = np.random.default_rng(0)
    rows = []
    volumes = []
    for number in range(1, patients + 1):
        patient = f"patient{number:03d}"
        for frame, phase in enumerate(PHASES, 1):
            volumes.append(volume_name(patient, frame))
            for index in range(SLICES):
                area = 100 + 10 * (SLICES - index) + number
                rows.append(
                    {
                        "slice": slice_name(patient, frame, index),
                        "patient": patient,
                        "frame": str(frame),
                        "phase": phase,
                        "group": GROUPS[number % len(GROUPS)],
                        "split": "val" if number == patients else "train",
                        "slice_index": str(index),
                        "height": "100",
                        "width": "80",
                        "spacing": "10 1.5 2",
                        "rv_pixels": str(area),
                        "myo_pixels": str(area + 20),
                        "lv_pixels": str(area + 40),
                        "image_sha256": f"{number}-{frame}-{index}",
                        "notes": "",
                    }
                )

    n = len(rows)
    v = len(volumes)
    steady = np.linspace(0.2, 0.3, n)
    measures = Measures(
        slices=np.array([row["slice"] for row in rows]),
        brightness=steady.copy(),
        contrast=steady.copy(),
        blur=steady[::-1].copy(),
        quantization_max=np.full(n, 0.5 / 255),
        quantization_mean=np.full(n, 0.25 / 255),
        volumes=np.array(volumes),
        depths=np.full(v, SLICES + 1),
        clip_levels=np.linspace(200, 240, v),
        raw_minima=np.zeros(v),
        raw_maxima=np.linspace(400, 500, v),
        raw_histograms=np.ones((v, RAW_UNITS * BINS), np.int64),
        clipped_histograms=random.integers(50, 60, (v, BINS)),
        png_histograms=np.ones((v, BINS), np.int64),
        embedding_means=np.zeros(n),
        embedding_stds=np.ones(n),
        embedding_norms=np.full(n, 1024.0),
        pooled=random.normal(size=(n, 256, REGIONS, REGIONS)).astype(np.float32),
        tokens=np.array(n * 64 * 64),
        token_products=np.eye(256) * n * 64 * 64,
    )

    check = {"passed": True, "items": n, "failed": [], "skipped": None}
    quality = {"passed": True, "software": "test", "checks": {"a check": check}, "left_out": [], "notes": []}
    return Contents(Path(), rows, measures, quality)
