"""The cohort: which patients, frames and labels the raw folder holds, and everything that is wrong with it."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from acdc_medsam.dataset import GROUPS, PATIENT_PATTERN, PHASES, SUBSETS, patient_number, volume_name
from acdc_medsam.errors import CohortError

SUFFIXES = (".nii.gz", ".nii")
_INFO_LINE = re.compile(r"\s*(\w+)\s*[:=]\s*(.*?)\s*")


@dataclass(frozen=True)
class Frame:
    """One annotated frame: its phase (ED or ES), number in the cine, image and label file."""

    phase: str
    number: int
    image: Path
    label: Path


@dataclass(frozen=True)
class Patient:
    """One patient: where it lies, its two frames, and what Info.cfg says (height in cm, weight in kg)."""

    name: str
    subset: str
    folder: Path
    group: str
    height: float
    weight: float
    frames: tuple[Frame, ...]

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
    """The patients that can be used, in the order of their numbers, and why the others cannot."""

    patients: tuple[Patient, ...]
    problems: dict[str, list[str]]


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
    return Cohort(tuple(patients), dict(problems))


def _patient_folders(raw: Path) -> dict[str, list[Path]]:
    if not any((raw / subset).is_dir() for subset in SUBSETS):
        raise CohortError(
            f"no ACDC data: looked for {raw / 'training'} and {raw / 'testing'} and found neither.\n"
            "Get ACDC from https://humanheart-project.creatis.insa-lyon.fr/database/ and unpack it there, or set "
            "'raw' in config.yaml to where it lies. 'make demo' runs the whole workflow without it."
        )
    by_number: dict[int, list[Path]] = defaultdict(list)
    for subset in SUBSETS:
        for folder in sorted((raw / subset).glob("patient*")):
            if folder.is_dir() and PATIENT_PATTERN.fullmatch(folder.name):
                by_number[patient_number(folder.name)].append(folder)
    if not by_number:
        raise CohortError(
            f"no patient in {raw}: its training/ and testing/ folders hold no folder named like 'patient001'"
        )
    return {places[0].name: places for places in by_number.values()}


def read_patient(folder: Path) -> Patient:
    """Read Info.cfg and find the ED and ES frames with their labels.

    Raises:
        CohortError: every defect of the patient, one line each, with patient and file.
    """
    name, problems = folder.name, list[str]()
    info = _read_info(folder / "Info.cfg", problems)
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
    return Patient(name, folder.parent.name, folder, group, height, weight, tuple(frames))


def _read_info(path: Path, problems: list[str]) -> dict[str, str]:
    name = path.parent.name
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except FileNotFoundError:
        problems.append(f"{name}: Info.cfg is missing; copy it from the original dataset")
        return {}
    except OSError as error:
        problems.append(f"{name}: Info.cfg cannot be read ({error.strerror}); correct its permissions")
        return {}
    return {match[1]: match[2] for line in lines if (match := _INFO_LINE.fullmatch(line))}


def _find_frame(folder: Path, phase: str, info: dict[str, str], problems: list[str]) -> Frame | None:
    name = folder.name
    if not info:
        return None
    value = info.get(phase)
    if value is None or not value.isdecimal() or int(value) < 1:
        state = "missing" if value is None else f"{value!r}, which is not a frame number"
        problems.append(f"{name}: Info.cfg: {phase} is {state}; give the number of the {phase} frame")
        return None
    stem = volume_name(name, int(value))
    image = _find_volume(folder, stem, f"the {phase} frame that Info.cfg names", problems)
    label = _find_volume(folder, f"{stem}_gt", f"the label of the {phase} frame", problems)
    return Frame(phase, int(value), image, label) if image and label else None


def _find_volume(folder: Path, stem: str, role: str, problems: list[str]) -> Path | None:
    found = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
    if not found:
        problems.append(f"{folder.name}: {stem}.nii.gz is missing: {role}; copy it from the original dataset")
        return None
    if len(found) > 1:
        problems.append(f"{folder.name}: {stem}: both .nii.gz and .nii are there; keep one of them")
        return None
    return found[0]


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def count_slices(patients: Sequence[Patient]) -> int:
    """Number of slices in all frames, from the NIfTI headers alone; frames that cannot be read count as 0."""
    return sum(_depth(frame.image) for patient in patients for frame in patient.frames)


def _depth(path: Path) -> int:
    try:
        shape: tuple[int, ...] = nib.load(path).shape
    except (ImageFileError, OSError, EOFError, ValueError):
        # The job that reads the voxels says what is wrong with the file; here it is only counted.
        return 0
    return shape[2] if len(shape) > 2 else 0
