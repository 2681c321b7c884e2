"""Stage measure: compute what the report says about slices, volumes and embeddings.

In: H5 volumes, PNG images, embeddings and raw images of all patients. Out: one file of measures per patient, and their
index. The name of a patient's file contains a digest of everything that it was computed from, so that only patients
whose files have changed are measured again. Changing the split measures nothing.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_sealed, remove_others
from acdc_medsam.formats.h5 import read_h5
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.formats.kept import find_kept, record_path
from acdc_medsam.formats.nifti import read_nifti
from acdc_medsam.formats.png import GrayFile
from acdc_medsam.layout import EMBEDDING_SHAPE, PNG_IMAGE_SHA256, RAW_IMAGE_SHA256
from acdc_medsam.measures.embeddings import measure_embeddings
from acdc_medsam.measures.images import blur, gray_histogram, histogram, mean_and_deviation, quantization_error
from acdc_medsam.measures.records import BINS, RAW_UNITS, REGIONS, Measures, merge_measures, write_measures
from acdc_medsam.runtime.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PatientFiles:
    """Everything that the measures of one patient are computed from.

    Attributes:
        h5: The index of H5 files.
        slices: The table of slices; the images lie in ``images/`` beside it.
        embeddings: Slice -> record of its embedding; empty for a dataset without embeddings.
        raw: Volume -> raw NIfTI image; empty for patients that come from H5 files.
    """

    h5: Path
    slices: Path
    embeddings: Mapping[str, Written]
    raw: Mapping[str, Path]

    def digest(self, code: str) -> str:
        """Compute a hex sha256 over everything that the measures depend on; ``code`` is the hash of the code."""
        h5 = self.h5.read_text(encoding="utf-8")
        slices = self.slices.read_text(encoding="utf-8")
        embeddings = "".join(written.sha256 for written in self.embeddings.values())
        texts = (code, h5, slices, embeddings)
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def measure_dataset(
    h5: Sequence[Path],
    slices: Sequence[Path],
    embeddings: Sequence[Path],
    raw: Sequence[Path],
    index: Path,
    code: str,
    threads: int,
) -> None:
    """Measure the patients whose files have changed, and write the index of the measures of all patients.

    Args:
        h5: The indexes of H5 files, one per patient.
        slices: The tables of slices in the same order; the images of each lie in ``images/`` beside it.
        embeddings: The tables of embeddings of all batches; none for a dataset without embeddings.
        raw: The raw NIfTI images of all patients; none for a dataset that was made from H5 files.
        index: Declared output, written last. The measures lie beside it.
        code: Hash of the code that measures.
        threads: Number of patients that are measured at a time.

    Raises:
        DatasetError: A file is missing or damaged.
    """
    patients = find_patients(h5, slices, embeddings, raw)
    files = {index.parent / f"{name}-{patient.digest(code)[:16]}.npz": patient for name, patient in patients.items()}
    # A file that exists under its name is up to date, because the name contains the digest.
    kept = {path: find_kept(path) for path in files}
    missing = {path: patient for path, patient in files.items() if kept[path] is None}

    progress = Progress(len(missing), unit="patient")
    with ThreadPoolExecutor(threads) as pool:
        for path, measures in zip(missing, pool.map(measure_patient, missing.values()), strict=True):
            kept[path] = write_measures(path, measures)
            progress.advance()
    progress.close()

    # What is left are measures of earlier states, and of patients who are no longer in the dataset.
    remove_others([index.parent], keep=[*files, *map(record_path, files)])
    write_index(index, [index_row(one.written, index) for one in kept.values() if one is not None])
    logger.info("measured %d patients, kept %d", len(missing), len(files) - len(missing))


def find_patients(
    h5: Sequence[Path], slices: Sequence[Path], embeddings: Sequence[Path], raw: Sequence[Path]
) -> dict[str, PatientFiles]:
    """Find the files of each patient that has slices.

    Args:
        h5: See :func:`measure_dataset`, as for the other arguments.
        slices: The tables of slices.
        embeddings: The tables of embeddings.
        raw: The raw images.

    Returns:
        Name of the patient -> its files.
    """
    stored = {row["slice"]: written for table in embeddings for written, row in read_records(table)}
    images = {path.name.split(".")[0]: path for path in raw}
    patients = {}
    for h5_index, table in zip(h5, slices, strict=True):
        names = [row["slice"] for row in read_sealed(table)]
        if names:
            own = {name: stored[name] for name in names} if embeddings else {}
            patients[h5_index.parent.name] = PatientFiles(h5_index, table, own, images)
    return patients


def measure_patient(patient: PatientFiles) -> Measures:
    """Measure one patient. Each file is read once."""
    rows = read_sealed(patient.slices)
    images = patient.slices.parent / "images"
    parts = []
    for volume, _ in read_records(patient.h5):
        if volume.path.parent.name != "volumes":
            continue

        name = volume.path.stem
        own = [row for row in rows if row["slice"].startswith(f"{name}_")]
        slices = {
            int(row["slice_index"]): GrayFile(images / f"{row['slice']}.png", row[PNG_IMAGE_SHA256]) for row in own
        }
        embeddings = [patient.embeddings[row["slice"]] for row in own if patient.embeddings]
        parts.append(measure_volume(volume, patient.raw.get(name), slices, embeddings))
    return merge_measures(parts)


def measure_volume(
    volume: Written, raw: Path | None, slices: Mapping[int, GrayFile], embeddings: Sequence[Written]
) -> Measures:
    """Measure one volume, its kept slices and their embeddings.

    Args:
        volume: Record of the H5 volume.
        raw: The NIfTI image that the volume was made from; None if it was made from H5 files.
        slices: Index of the slice -> PNG image, for the slices that were kept.
        embeddings: Records of the embeddings of these slices in the same order, or none.

    Returns:
        The measures of the volume.

    Raises:
        DatasetError: A file is not the one that was made, or not the one that the volume was made from.
    """
    content = read_h5(volume.path, 3, volume.sha256)
    image = content.image
    grays = [gray_histogram(gray.read()) for gray in slices.values()]
    # The shape is given for volumes without a kept slice, whose lists are empty.
    light = np.array([mean_and_deviation(counts) for counts in grays]).reshape(-1, 2)
    errors = np.array([quantization_error(image[index]) for index in slices]).reshape(-1, 2)
    # Summed over the slices, and from 256 gray values to the bins of the other histograms.
    png_histogram = sum(grays, np.zeros(256, np.int64)).reshape(BINS, -1).sum(1)

    return Measures(
        slices=np.array([gray.path.stem for gray in slices.values()], np.str_),
        brightness=light[:, 0],
        contrast=light[:, 1],
        blur=np.array([blur(image[index]) for index in slices]),
        quantization_max=errors[:, 0],
        quantization_mean=errors[:, 1],
        volumes=np.array([volume.path.stem]),
        depths=np.array([len(image)]),
        **_measure_raw(volume, raw, content.attributes),
        clipped_histograms=histogram(image, 1)[np.newaxis],
        png_histograms=png_histogram[np.newaxis],
        **_measure_embeddings(embeddings),
    )


def _measure_raw(volume: Written, raw: Path | None, attributes: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Measure the raw intensities of a volume; they are NaN, and the histogram is empty, if there is no raw image."""
    if raw is None:
        unknown = np.array([np.nan])
        counts = np.zeros((1, RAW_UNITS * BINS), np.int64)
        return {"clip_levels": unknown, "raw_minima": unknown, "raw_maxima": unknown, "raw_histograms": counts}

    lowest = float(attributes["raw_min"])
    clip_level = float(attributes["clip_level"])
    nifti = read_nifti(raw)
    if nifti.sha256 != attributes[RAW_IMAGE_SHA256]:
        raise DatasetError(f"{raw} is not the image that {volume.path} was made from; run the same command again")

    unclipped = (nifti.voxels.astype(np.float32) - lowest) / (clip_level - lowest)
    return {
        "clip_levels": np.array([clip_level]),
        "raw_minima": np.array([lowest]),
        "raw_maxima": np.array([float(attributes["raw_max"])]),
        "raw_histograms": histogram(unclipped, RAW_UNITS)[np.newaxis],
    }


def _measure_embeddings(embeddings: Sequence[Written]) -> dict[str, npt.NDArray[Any]]:
    if embeddings:
        return measure_embeddings(embeddings)

    channels = EMBEDDING_SHAPE[0]
    return {
        "embedding_means": np.zeros(0),
        "embedding_stds": np.zeros(0),
        "embedding_norms": np.zeros(0),
        "pooled": np.zeros((0, channels, REGIONS, REGIONS), np.float32),
        "tokens": np.array(0),
        "token_products": np.zeros((channels, channels)),
    }
