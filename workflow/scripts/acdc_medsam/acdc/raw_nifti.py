"""Patients whose raw files are NIfTI files: what Info.cfg says, the frames with their labels, and every defect."""

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.acdc.labels import GROUPS, PHASES
from acdc_medsam.acdc.naming import CINE_ENDING, INFO_NAME, LABEL_ENDING, patient_number, volume_name
from acdc_medsam.errors import CohortError, VolumeError
from acdc_medsam.formats.nifti import read_shape

SUFFIXES = (".nii.gz", ".nii")
MAX_INFO_BYTES = 2**16
"""Size of the largest Info.cfg that is read; ACDC's files have about 80 bytes."""

_INFO_LINE = re.compile(r"\s*(\w+)\s*[:=]\s*(.*?)\s*")
_FRAME_NUMBER = re.compile(r"0*[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Frame:
    """One annotated frame of a patient.

    Attributes:
        phase: ``ED`` or ``ES``.
        number: Number of the frame in the cine, counted from 1.
        image: NIfTI file of the image.
        label: NIfTI file of the label.
    """

    phase: str
    number: int
    image: Path
    label: Path


@dataclass(frozen=True)
class Patient:
    """One patient with its two frames and the facts from Info.cfg.

    Attributes:
        name: Name of the patient, such as ``patient001``.
        subset: ``training`` or ``testing``.
        folder: Folder of the patient's raw files.
        group: Pathology group, one of GROUPS.
        height: Height in cm, NaN if unknown.
        weight: Weight in kg, NaN if unknown.
        frames: The ED and the ES frame.
        info_sha256: Hex sha256 of the content of Info.cfg.
    """

    name: str
    subset: str
    folder: Path
    group: str
    height: float
    weight: float
    frames: tuple[Frame, ...]
    info_sha256: str

    @property
    def number(self) -> int:
        """The number in the patient's name."""
        return patient_number(self.name)

    @property
    def sources(self) -> list[Path]:
        """Every raw file that the patient's part of the dataset is made from."""
        return [self.folder / INFO_NAME, *self.volumes]

    @property
    def volumes(self) -> list[Path]:
        """Image and label of each frame."""
        return [path for frame in self.frames for path in (frame.image, frame.label)]

    @property
    def images(self) -> list[Path]:
        """Image of each frame."""
        return [frame.image for frame in self.frames]

    @property
    def cine(self) -> Path | None:
        """All frames of the beat in one file, if it is there; the compressed one if there are two."""
        paths = (self.folder / f"{self.name}{CINE_ENDING}{suffix}" for suffix in SUFFIXES)
        return next(filter(Path.is_file, paths), None)

    def count_slices(self) -> int:
        """Count the slices of both frames from the NIfTI headers alone; a frame that cannot be read counts as 0."""
        return sum(_read_depth(path) for path in self.images)


def read_patient(folder: Path) -> Patient:
    """Read Info.cfg and find the ED and ES frames with their labels.

    Raises:
        CohortError: The patient has defects; the message has a line for each, with patient and file.
    """
    name = folder.name
    problems = list[str]()
    info, info_sha256 = read_info(folder / INFO_NAME, problems)
    frames = [frame for phase in PHASES if (frame := _find_frame(folder, phase, info, problems))]

    group = info.get("Group", "").upper()
    if info and group not in GROUPS:
        known = ", ".join(GROUPS)
        problems.append(f"{name}: Info.cfg: Group is {group or 'missing'}; it must be one of {known}")
    # Equal frames would be published under one name, the second over the first.
    if len(frames) == 2 and frames[0].number == frames[1].number:
        problems.append(f"{name}: Info.cfg: ED and ES are the same frame {frames[0].number}; correct one of them")
    if problems:
        raise CohortError("\n".join(problems))

    return Patient(
        name=name,
        subset=folder.parent.name,
        folder=folder,
        group=group,
        height=_parse_size(info.get("Height", "")),
        weight=_parse_size(info.get("Weight", "")),
        frames=tuple(frames),
        info_sha256=info_sha256,
    )


def read_info(path: Path, problems: list[str]) -> tuple[dict[str, str], str]:
    """Read Info.cfg.

    Args:
        path: The file.
        problems: List to which defects of the file are appended.

    Returns:
        Key -> value, and the hex sha256 of the content; both empty if the file cannot be read.
    """
    name = path.parent.name
    try:
        if not path.is_file():  # a named pipe is refused too: reading it would block
            problems.append(f"{name}: Info.cfg is missing; copy it from the original dataset")
            return {}, ""
        with path.open("rb") as handle:
            data = handle.read(MAX_INFO_BYTES + 1)
    except OSError as error:
        problems.append(f"{name}: Info.cfg cannot be read ({error.strerror}); correct its permissions")
        return {}, ""
    if len(data) > MAX_INFO_BYTES:
        problems.append(f"{name}: Info.cfg is longer than {MAX_INFO_BYTES} bytes; copy it from the original dataset")
        return {}, ""

    # Some tools write a byte-order mark; bytes that are no UTF-8 cannot be part of a valid line.
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    info: dict[str, str] = {}
    for match in filter(None, map(_INFO_LINE.fullmatch, lines)):
        key, value = match.groups()
        if info.setdefault(key, value) != value:
            problems.append(f"{name}: Info.cfg: {key} is given twice, {info[key]!r} and {value!r}; keep one of them")
    if not info:
        problems.append(f"{name}: Info.cfg holds no line such as 'ED: 1'; copy it from the original dataset")
    return info, hashlib.sha256(data).hexdigest()


def _find_frame(folder: Path, phase: str, info: dict[str, str], problems: list[str]) -> Frame | None:
    """Return the frame of a phase, or None after appending its defects to ``problems``."""
    name = folder.name
    # Without Info.cfg, its defect is reported, and not once more for each phase.
    if not info:
        return None

    value = info.get(phase)
    if value is None or not _FRAME_NUMBER.fullmatch(value):
        state = "missing" if value is None else f"{value!r}, which is not a frame number"
        problems.append(f"{name}: Info.cfg: {phase} is {state}; give the number of the {phase} frame")
        return None

    stem = volume_name(name, int(value))
    image = _find_volume(folder, stem, f"the {phase} frame that Info.cfg names", problems)
    label = _find_volume(folder, f"{stem}{LABEL_ENDING}", f"the label of the {phase} frame", problems)
    return Frame(phase, int(value), image, label) if image and label else None


def _find_volume(folder: Path, stem: str, role: str, problems: list[str]) -> Path | None:
    """Return the one NIfTI file with a stem, or None after appending what is wrong to ``problems``."""
    try:
        found = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
    except OSError as error:
        problems.append(f"{folder.name}: {stem} cannot be searched for ({error.strerror}); correct its permissions")
        return None
    if not found:
        problems.append(f"{folder.name}: {stem}.nii.gz is missing: {role}; copy it from the original dataset")
        return None
    if len(found) > 1:
        problems.append(f"{folder.name}: {stem}: both .nii.gz and .nii are there; keep one of them")
        return None
    return found[0]


def _parse_size(text: str) -> float:
    """Read a height or weight; NaN, the mark of an unknown one, for anything but a positive number."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if 0 < number < math.inf else math.nan


def _read_depth(path: Path) -> int:
    try:
        return read_shape(path)[2]
    except VolumeError:
        # The job that reads the voxels reports what is wrong with the file.
        return 0
