"""Names of ACDC's folders and patients, and of the files that are made from them.

Source: the dataset's own folder structure.
"""

import re
from pathlib import Path

NAME = "ACDC"
"""Name of the dataset, which its published folders carry."""

SUBSETS = ("training", "testing")
"""Folders into which ACDC divides its patients, below the raw folder."""

H5_KINDS = ("volumes", "slices")
"""What the two folders of H5 files of a subset hold."""

INFO_NAME = "Info.cfg"
"""Name of the file with a patient's group, height and weight, and the numbers of its frames."""

LABEL_ENDING = "_gt"
"""What the stem of a label's file has after the stem of its image's."""

CINE_ENDING = "_4d"
"""What the stem of a cine has after the patient's name: it holds all frames of a beat."""

NNUNET_FOLDER = f"Dataset027_{NAME}"
"""Name of the dataset in nnU-Net, which numbers its datasets; 27 is its own number for ACDC."""

PATIENT_PATTERN = re.compile(r"patient([0-9]{3,9})")

VOLUME_PATTERN = r"patient\d{3,}_frame\d{2,}"
"""Regular expression for the name of a volume."""


H5_PATTERN = re.compile(
    r"(?P<patient>patient\d{3,9})_frame(?P<frame>\d{2}|[1-9]\d{2,3})(_slice_(?P<slice>0|[1-9]\d{0,3}))?\.h5"
)
"""Name of an H5 file of a volume or of a slice."""


def h5_folder(subset: str, kind: str) -> Path:
    """Return the published folder of H5 files: ``training``, ``slices`` -> ``ACDC_training_slices``."""
    return Path(f"{NAME}_{subset}_{kind}")


def patient_number(patient: str) -> int:
    """Return the number in a patient's name: ``patient007`` -> 7.

    Raises:
        ValueError: The name does not follow ACDC's pattern.
    """
    match = PATIENT_PATTERN.fullmatch(patient)
    if match is None:
        raise ValueError(f"{patient!r} is not an ACDC patient name such as 'patient007'")
    return int(match[1])


def volume_name(patient: str, frame: int) -> str:
    """Return the stem of a frame's files: ``patient001_frame01``."""
    return f"{patient}_frame{frame:02d}"


def slice_name(patient: str, frame: int, index: int) -> str:
    """Return the stem of a slice's files: ``patient001_frame01_slice_0``; ``index`` counts from 0 along z."""
    return f"{volume_name(patient, frame)}_slice_{index}"


def volume_of(name: str) -> str:
    """Return the name of the volume that a slice belongs to; the name of a volume is returned unchanged."""
    return name.split("_slice_")[0]
