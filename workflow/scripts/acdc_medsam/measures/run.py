"""Stage measure: what the report needs to know of every slice, volume and embedding, read once each.

In: the patients' H5 volumes, PNG images, embeddings and raw images. Out: a file of figures per patient and their
index. A patient's file is named by the content of all that it was measured from, so that only patients who changed
are measured again; another split measures nothing.
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
from acdc_medsam.measures.images import blur, gray_histogram, histogram, mean_and_deviation, quantization_error
from acdc_medsam.measures.records import BINS, RAW_UNITS, REGIONS, Measures, merge_measures, write_measures
from acdc_medsam.runtime.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patient:
    """What a patient is measured from: index of H5 files, table of slices, slice -> embedding, volume -> raw image.

    ``embeddings`` is empty for a dataset without embeddings.
    """

    h5: Path
    slices: Path
    embeddings: Mapping[str, Written]
    raw: Mapping[str, Path]

    def digest(self, code: str) -> str:
        """Hex sha256 over all that the measures depend on."""
        embeddings = "".join(written.sha256 for written in self.embeddings.values())
        texts = (code, self.h5.read_text(encoding="utf-8"), self.slices.read_text(encoding="utf-8"), embeddings)
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
    """Measure the patients that changed, and write the index of all patients' measures.

    Args:
        h5: the patients' indexes of H5 files.
        slices: the patients' tables of slices, in the same order, each beside its ``images/``.
        embeddings: the tables of all batches; none for a dataset without embeddings.
        raw: the raw images of all patients.
        index: declared output, written last; the measures lie beside it.
        code: hash of the code that measures.
        threads: number of patients measured at a time.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    patients = find_patients(h5, slices, embeddings, raw)
    files = {index.parent / f"{name}-{patient.digest(code)[:16]}.npz": patient for name, patient in patients.items()}
    kept = {path: find_kept(path) for path in files}
    missing = {path: patient for path, patient in files.items() if kept[path] is None}
    progress = Progress(len(missing), unit="patient")
    with ThreadPoolExecutor(threads, initializer=_compute_alone if embeddings and missing else None) as pool:
        for path, measures in zip(missing, pool.map(measure_patient, missing.values()), strict=True):
            kept[path] = write_measures(path, measures)
            progress.advance()
    progress.close()

    remove_others([index.parent], keep=[*files, *map(record_path, files)])
    write_index(index, [index_row(one.written, index) for one in kept.values() if one is not None])
    logger.info("measured %d patients, kept %d", len(missing), len(files) - len(missing))


def _compute_alone() -> None:
    """Have torch use one thread for what this thread asks of it: patients are what runs in parallel.

    Each thread has a number of its own, and sums of another number of parts differ in their last digits.
    """
    import torch  # takes 2 s, which a dataset without embeddings need not wait for

    torch.set_num_threads(1)


def find_patients(
    h5: Sequence[Path], slices: Sequence[Path], embeddings: Sequence[Path], raw: Sequence[Path]
) -> dict[str, Patient]:
    """Name -> patient, those with slices; the arguments are those of :func:`measure_dataset`."""
    stored = {row["slice"]: written for table in embeddings for written, row in read_records(table)}
    images = {path.name.split(".")[0]: path for path in raw}
    patients = {}
    for of_h5, of_slices in zip(h5, slices, strict=True):
        names = [row["slice"] for row in read_sealed(of_slices)]
        if names:
            of_patient = {name: stored[name] for name in names} if embeddings else {}
            patients[of_h5.parent.name] = Patient(of_h5, of_slices, of_patient, images)
    return patients


def measure_patient(patient: Patient) -> Measures:
    """Measure one patient, each file read once."""
    rows = read_sealed(patient.slices)
    images = patient.slices.parent / "images"
    parts = []
    for volume, _ in read_records(patient.h5):
        name = volume.path.stem
        if volume.path.parent.name == "volumes":
            of_volume = [row for row in rows if row["slice"].startswith(f"{name}_")]
            slices = {
                int(row["slice_index"]): GrayFile(images / f"{row['slice']}.png", row[PNG_IMAGE_SHA256])
                for row in of_volume
            }
            embeddings = [patient.embeddings[row["slice"]] for row in of_volume if patient.embeddings]
            parts.append(measure_volume(volume, patient.raw[name], slices, embeddings))
    return merge_measures(parts)


def measure_volume(
    volume: Written, raw: Path, slices: Mapping[int, GrayFile], embeddings: Sequence[Written]
) -> Measures:
    """Measure one volume, its kept slices and their embeddings.

    Args:
        volume: H5 volume.
        raw: The NIfTI image that it was made from.
        slices: Plane of the volume -> PNG image, for the slices that were kept.
        embeddings: Their files, in the same order, or none.

    Raises:
        DatasetError: A file is no longer what was made, or what the volume was made from.
    """
    content = read_h5(volume.path, 3, volume.sha256)
    image, attributes = content.image, content.attributes
    lowest, clip_level = float(attributes["raw_min"]), float(attributes["clip_level"])
    nifti = read_nifti(raw)
    if nifti.sha256 != attributes[RAW_IMAGE_SHA256]:
        raise DatasetError(f"{raw} is not the image that {volume.path} was made from; run the same command again")
    before = (nifti.voxels.astype(np.float32) - lowest) / (clip_level - lowest)
    grays = [gray_histogram(gray.read()) for gray in slices.values()]
    light = np.array([mean_and_deviation(counts) for counts in grays]).reshape(-1, 2)
    errors = np.array([quantization_error(image[plane]) for plane in slices]).reshape(-1, 2)
    in_bins = sum(grays, np.zeros(256, np.int64)).reshape(BINS, -1).sum(1)
    return Measures(
        slices=np.array([gray.path.stem for gray in slices.values()], np.str_),
        brightness=light[:, 0],
        contrast=light[:, 1],
        blur=np.array([blur(image[plane]) for plane in slices]),
        quantization_max=errors[:, 0],
        quantization_mean=errors[:, 1],
        volumes=np.array([volume.path.stem]),
        depths=np.array([len(image)]),
        clip_levels=np.array([clip_level]),
        raw_minima=np.array([lowest]),
        raw_maxima=np.array([float(attributes["raw_max"])]),
        raw_histograms=histogram(before, RAW_UNITS)[np.newaxis],
        clipped_histograms=histogram(image, 1)[np.newaxis],
        png_histograms=in_bins[np.newaxis],
        **_measure_embeddings(embeddings),
    )


def _measure_embeddings(embeddings: Sequence[Written]) -> dict[str, npt.NDArray[Any]]:
    if not embeddings:
        channels = EMBEDDING_SHAPE[0]
        products = np.zeros((channels, channels))
        pooled, tokens = np.zeros((0, channels, REGIONS, REGIONS), np.float32), np.array(0)
        one_each = dict.fromkeys(("embedding_means", "embedding_stds", "embedding_norms"), np.zeros(0))
        return {**one_each, "pooled": pooled, "tokens": tokens, "token_products": products}
    from acdc_medsam.measures.embeddings import measure_embeddings

    return measure_embeddings(embeddings)
