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
from acdc_medsam.files import index_files, index_row, read_table, remove_others, write_index
from acdc_medsam.h5 import read_h5
from acdc_medsam.measure_images import blur, gray_histogram, histogram, mean_and_deviation, quantization_error
from acdc_medsam.measures import BINS, RAW_UNITS, REGIONS, Measures, merge_measures, write_measures
from acdc_medsam.nifti import read_nifti
from acdc_medsam.png import read_gray
from acdc_medsam.progress import Progress
from acdc_medsam.store import EMBEDDING_SHAPE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patient:
    """What a patient is measured from: index of H5 files, table of slices, slice -> embedding, volume -> raw image.

    ``embeddings`` is empty for a dataset without embeddings.
    """

    h5: Path
    slices: Path
    embeddings: Mapping[str, Path]
    raw: Mapping[str, Path]

    def digest(self, code: str) -> str:
        """Hex sha256 over all that the measures depend on; embeddings are named by their content."""
        embeddings = "".join(path.name for path in self.embeddings.values())
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
    missing = {path: patient for path, patient in files.items() if not path.is_file()}
    if embeddings and missing:
        import torch  # takes 2 s, which a dataset without embeddings need not wait for

        torch.set_num_threads(1)  # patients are what runs in parallel
    progress = Progress(len(missing), unit="patient")
    with ThreadPoolExecutor(threads) as pool:
        for path, measures in zip(missing, pool.map(measure_patient, missing.values()), strict=True):
            write_measures(path, measures)
            progress.advance()
    progress.close()
    remove_others([index.parent], keep=files)
    write_index(index, [index_row(path, index) for path in files])
    logger.info("measured %d patients, kept %d", len(missing), len(files) - len(missing))


def find_patients(
    h5: Sequence[Path], slices: Sequence[Path], embeddings: Sequence[Path], raw: Sequence[Path]
) -> dict[str, Patient]:
    """Name -> patient, those with slices; the arguments are those of :func:`measure_dataset`."""
    stored = {row["slice"]: table.parent / row["file"] for table in embeddings for row in read_table(table)}
    images = {path.name.split(".")[0]: path for path in raw}
    patients = {}
    for of_h5, of_slices in zip(h5, slices, strict=True):
        names = [row["slice"] for row in read_table(of_slices)]
        if names:
            of_patient = {name: stored[name] for name in names} if embeddings else {}
            patients[of_h5.parent.name] = Patient(of_h5, of_slices, of_patient, images)
    return patients


def measure_patient(patient: Patient) -> Measures:
    """Measure one patient, each file read once."""
    rows = read_table(patient.slices)
    parts = []
    for volume in (path for path in index_files(patient.h5) if path.parent.name == "volumes"):
        of_volume = {
            int(row["slice_index"]): row["slice"] for row in rows if row["slice"].startswith(f"{volume.stem}_")
        }
        images = patient.slices.parent / "images"
        embeddings = [patient.embeddings[name] for name in of_volume.values() if patient.embeddings]
        parts.append(measure_volume(volume, patient.raw[volume.stem], images, of_volume, embeddings))
    return merge_measures(parts)


def measure_volume(
    volume: Path, raw: Path, images: Path, slices: Mapping[int, str], embeddings: Sequence[Path]
) -> Measures:
    """Measure one volume, its kept slices and their embeddings.

    Args:
        volume: H5 volume.
        raw: the NIfTI image that it was made from.
        images: folder of the slices' PNG images.
        slices: plane of the volume -> name, for the slices that were kept.
        embeddings: their files, in the same order, or none.
    """
    content = read_h5(volume, 3)
    image, attributes = content.image, content.attributes
    lowest, clip_level = float(attributes["raw_min"]), float(attributes["clip_level"])
    before = (read_nifti(raw).voxels.astype(np.float32) - lowest) / (clip_level - lowest)
    if before.size != image.size:
        raise DatasetError(f"{raw} is not the image that {volume} was made from; run the workflow again")
    grays = [gray_histogram(read_gray(images / f"{name}.png")) for name in slices.values()]
    light = np.array([mean_and_deviation(counts) for counts in grays]).reshape(-1, 2)
    errors = np.array([quantization_error(image[plane]) for plane in slices]).reshape(-1, 2)
    in_bins = sum(grays, np.zeros(256, np.int64)).reshape(BINS, -1).sum(1)
    return Measures(
        slices=np.array(list(slices.values()), np.str_),
        brightness=light[:, 0],
        contrast=light[:, 1],
        blur=np.array([blur(image[plane]) for plane in slices]),
        quantization_max=errors[:, 0],
        quantization_mean=errors[:, 1],
        volumes=np.array([volume.stem]),
        depths=np.array([len(image)]),
        clip_levels=np.array([clip_level]),
        raw_minima=np.array([lowest]),
        raw_maxima=np.array([float(attributes["raw_max"])]),
        raw_histograms=histogram(before, RAW_UNITS)[np.newaxis],
        clipped_histograms=histogram(image, 1)[np.newaxis],
        png_histograms=in_bins[np.newaxis],
        **_measure_embeddings(embeddings),
    )


def _measure_embeddings(paths: Sequence[Path]) -> dict[str, npt.NDArray[Any]]:
    if not paths:
        channels = EMBEDDING_SHAPE[0]
        products = np.zeros((channels, channels))
        pooled, tokens = np.zeros((0, channels, REGIONS, REGIONS), np.float32), np.array(0)
        one_each = dict.fromkeys(("embedding_means", "embedding_stds", "embedding_norms"), np.zeros(0))
        return {**one_each, "pooled": pooled, "tokens": tokens, "token_products": products}
    from acdc_medsam.measure_embeddings import measure_embeddings

    return measure_embeddings(paths)
