"""Write the normalized frames of a patient as H5 volumes and slices, with their index: the end of the first stage.

The first stage is ``normalize`` for NIfTI files and ``adopt`` for H5 files; what both make has one form.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acdc_medsam import __version__
from acdc_medsam.acdc.naming import H5_KINDS, slice_name, volume_name
from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.files import Written, remove_others
from acdc_medsam.formats.h5 import Array, write_h5
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.runtime.outside import require_announced

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NormalizedFrame:
    """One frame as it is written.

    Attributes:
        number: Number of the frame in the cine, counted from 1.
        image: (Z, H, W) float32 in [0, 1].
        label: (Z, H, W) uint8 in {0, 1, 2, 3}.
        attributes: Attributes of the H5 files, besides those that every file has.
        sources: Raw file -> hex sha256 of what was read, for all files that the frame was made from.
        notes: Remarks on the data that the user should see in the end.
        others: Name -> further dataset (Z, H, W).
    """

    number: int
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    attributes: Mapping[str, object]
    sources: Mapping[Path, str]
    notes: tuple[str, ...] = ()
    others: Mapping[str, Array] = field(default_factory=dict)


def write_patient(
    patient: str,
    frames: Iterable[NormalizedFrame],
    index: Path,
    raw: Path,
    on_invalid: str,
    announced: Mapping[str, str] | None = None,
) -> None:
    """Write a patient's H5 files to ``volumes/`` and ``slices/`` beside their index.

    Files from an earlier run in these two folders are removed.

    Args:
        patient: Name of the patient.
        frames: The frames. They may be read while they are iterated over, and raise a VolumeError.
        index: Declared output, the index of the H5 files, written last.
        raw: The raw folder, to which the names of sources in the index are relative.
        on_invalid: ``stop`` raises an error for an unusable volume; ``exclude`` writes an empty index with the reason.
        announced: File name -> hex sha256 of each raw file when the run was planned; None accepts any.

    Raises:
        VolumeError: A volume is unusable, and ``on_invalid`` is ``stop``.
        DatasetError: A raw file has changed since the run was planned.
    """
    folders = [index.parent / kind for kind in H5_KINDS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)

    sources = dict[Path, str]()
    files = list[Written]()
    notes = list[str]()
    try:
        for frame in frames:
            sources |= frame.sources
            notes.extend(f"{patient}: {note}" for note in frame.notes)
            files.extend(_write_frame(patient, frame, index.parent))
    except VolumeError as error:
        message = f"{patient}: {error}"
        if on_invalid != "exclude":
            raise VolumeError(f"{message}. Or leave the patient out: 'on_invalid: exclude' in config.yaml") from error
        logger.warning("left out: %s", message)
        # Files of the other frame may have been written already.
        remove_others(folders, keep=[])
        write_index(index, [], left_out=[message], notes=notes)
        return

    for note in notes:
        logger.warning("%s", note)
    # The index names these digests as the sources, so the files must be those that the run was planned with.
    for path, sha256 in sources.items():
        require_announced(path, sha256, None if announced is None else announced.get(path.name, ""))

    remove_others(folders, keep=[file.path for file in files])
    relative_sources = {str(path.relative_to(raw)): sha256 for path, sha256 in sources.items()}
    write_index(index, [index_row(file, index) for file in files], notes=notes, sources=relative_sources)
    logger.info("%s: %d files", patient, len(files))


def _write_frame(patient: str, frame: NormalizedFrame, folder: Path) -> list[Written]:
    """Write the volume and the slices of a frame, and return their records."""
    attributes = {
        "patient": patient,
        "frame": frame.number,
        "software": f"acdc-medsam {__version__}",
        **frame.attributes,
    }
    path = folder / "volumes" / f"{volume_name(patient, frame.number)}.h5"
    # One chunk per slice, because readers take whole slices.
    chunks = (1, *frame.label.shape[1:])
    files = [write_h5(path, frame.image, frame.label, attributes, chunks, frame.others)]

    for index, (image, label) in enumerate(zip(frame.image, frame.label, strict=True)):
        path = folder / "slices" / f"{slice_name(patient, frame.number, index)}.h5"
        others = {name: array[index] for name, array in frame.others.items()}
        files.append(write_h5(path, image, label, attributes | {"slice_index": index}, label.shape, others))
    return files
