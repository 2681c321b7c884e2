"""The cohort: which patients, frames and labels the raw folder holds, and everything that is wrong with it."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.acdc.labels import GROUPS, PHASES
from acdc_medsam.acdc.naming import PATIENT_PATTERN, SUBSETS, patient_number, volume_name
from acdc_medsam.errors import CohortError, VolumeError
from acdc_medsam.formats.nifti import read_shape

SUFFIXES = (".nii.gz", ".nii")
MAX_INFO_BYTES = 2**16
"""Longest Info.cfg that is read; ACDC's take 80 bytes."""

_INFO_LINE = re.compile(r"\s*(\w+)\s*[:=]\s*(.*?)\s*")
_FRAME_NUMBER = re.compile(r"0*[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Frame:
    """One annotated frame: its phase (ED or ES), number in the cine, image and label file."""

    phase: str
    number: int
    image: Path
    label: Path


@dataclass(frozen=True)
class Patient:
    """One patient: where it lies, its two frames, and what Info.cfg says (height in cm, weight in kg).

    ``info_sha256`` is that of the bytes of Info.cfg that were read.
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
        """Every file that the patient's dataset is made from."""
        return [self.folder / "Info.cfg", *(f for frame in self.frames for f in (frame.image, frame.label))]


@dataclass(frozen=True)
class Cohort:
    """The patients that can be used, by number; why others cannot; and names to exclude that no patient has."""

    patients: tuple[Patient, ...]
    problems: dict[str, list[str]]
    unknown: tuple[str, ...] = ()


def find_cohort(raw: Path, exclude: Sequence[str] = ()) -> Cohort:
    """Find every patient below ``raw/training`` and ``raw/testing``.

    Anything that is not named like a patient, and any file but Info.cfg and the ED and ES frames with their
    labels, is ignored. ``problems`` maps a patient to its defects, one line each.

    Raises:
        CohortError: there is no raw folder or no patient in it.
    """
    folders = _patient_folders(raw)
    patients, problems = [], defaultdict(list)
    for name, places in sorted(folders.items(), key=lambda item: patient_number(item[0])):
        if name in exclude:
            continue
        if len(places) > 1:
            both = " and ".join(str(place) for place in places)
            problems[name].append(f"{name}: two folders for one patient: {both}; keep one of them")
            continue
        try:
            patients.append(read_patient(places[0]))
        except CohortError as error:
            problems[name].extend(str(error).splitlines())
    return Cohort(tuple(patients), dict(problems), tuple(sorted(set(exclude) - set(folders))))


def _patient_folders(raw: Path) -> dict[str, list[Path]]:
    if not any((raw / subset).is_dir() for subset in SUBSETS):
        raise CohortError(
            f"no ACDC data: looked for {raw / 'training'} and {raw / 'testing'} and found neither.\n"
            "Get ACDC from https://humanheart-project.creatis.insa-lyon.fr/database/ and unpack it there, or set "
            "'raw' in config.yaml to where it lies. 'make demo' runs the whole workflow without it."
        )
    by_number: dict[int, list[Path]] = defaultdict(list)
    for subset in SUBSETS:
        for folder in _folders(raw / subset):
            if PATIENT_PATTERN.fullmatch(folder.name):
                by_number[patient_number(folder.name)].append(folder)
    if not by_number:
        raise CohortError(
            f"no patient in {raw}: its training/ and testing/ folders hold no folder named like 'patient001'"
        )
    return {places[0].name: places for places in by_number.values()}


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, links to folders too; none if there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CohortError(f"{folder} cannot be read ({error.strerror}); correct its permissions") from error


def read_patient(folder: Path) -> Patient:
    """Read Info.cfg and find the ED and ES frames with their labels.

    Raises:
        CohortError: every defect of the patient, one line each, with patient and file.
    """
    name, problems = folder.name, list[str]()
    info, info_sha256 = _read_info(folder / "Info.cfg", problems)
    frames = [frame for phase in PHASES if (frame := _find_frame(folder, phase, info, problems))]
    group = info.get("Group", "").upper()
    if info and group not in GROUPS:
        known = ", ".join(GROUPS)
        problems.append(f"{name}: Info.cfg: Group is {group or 'missing'}; it must be one of {known}")
    if len(frames) == 2 and frames[0].number == frames[1].number:
        problems.append(f"{name}: Info.cfg: ED and ES are the same frame {frames[0].number}; correct one of them")
    if problems:
        raise CohortError("\n".join(problems))
    height, weight = (_number_or_nan(info.get(key, "")) for key in ("Height", "Weight"))
    return Patient(name, folder.parent.name, folder, group, height, weight, tuple(frames), info_sha256)


def _read_info(path: Path, problems: list[str]) -> tuple[dict[str, str], str]:
    """What Info.cfg says, key -> value, and the sha256 of its content; what is wrong is added to ``problems``."""
    name = path.parent.name
    try:
        if not path.is_file():  # nor is a pipe one, which would be waited for
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
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    info: dict[str, str] = {}
    for match in filter(None, map(_INFO_LINE.fullmatch, lines)):
        if info.setdefault(match[1], match[2]) != match[2]:
            problems.append(
                f"{name}: Info.cfg: {match[1]} is given twice, {info[match[1]]!r} and {match[2]!r}; keep one of them"
            )
    if not info:
        problems.append(f"{name}: Info.cfg holds no line such as 'ED: 1'; copy it from the original dataset")
    return info, hashlib.sha256(data).hexdigest()


def _find_frame(folder: Path, phase: str, info: dict[str, str], problems: list[str]) -> Frame | None:
    name = folder.name
    if not info:
        return None
    value = info.get(phase)
    if value is None or not _FRAME_NUMBER.fullmatch(value):
        state = "missing" if value is None else f"{value!r}, which is not a frame number"
        problems.append(f"{name}: Info.cfg: {phase} is {state}; give the number of the {phase} frame")
        return None
    stem = volume_name(name, int(value))
    image = _find_volume(folder, stem, f"the {phase} frame that Info.cfg names", problems)
    label = _find_volume(folder, f"{stem}_gt", f"the label of the {phase} frame", problems)
    return Frame(phase, int(value), image, label) if image and label else None


def _find_volume(folder: Path, stem: str, role: str, problems: list[str]) -> Path | None:
    try:
        found = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
    except OSError as error:
        problems.append(f"{folder.name}: {stem} cannot be looked for ({error.strerror}); correct its permissions")
        return None
    if not found:
        problems.append(f"{folder.name}: {stem}.nii.gz is missing: {role}; copy it from the original dataset")
        return None
    if len(found) > 1:
        problems.append(f"{folder.name}: {stem}: both .nii.gz and .nii are there; keep one of them")
        return None
    return found[0]


def _number_or_nan(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if 0 < number < math.inf else math.nan


def count_raw_slices(patients: Sequence[Patient]) -> int:
    """Number of slices in all frames, from the NIfTI headers alone; frames that cannot be read count as 0."""
    return sum(_depth(frame.image) for patient in patients for frame in patient.frames)


def _depth(path: Path) -> int:
    try:
        return read_shape(path)[2]
    except VolumeError:
        # The job that reads the voxels says what is wrong with the file; here it is only counted.
        return 0
