"""Cohort: the patients in the raw folder, found in NIfTI files or in H5 files, and every defect found among them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.acdc.folders import list_folder
from acdc_medsam.acdc.naming import NAME, PATIENT_PATTERN, SUBSETS, patient_number
from acdc_medsam.acdc.raw_h5 import H5Patient, find_h5_files, find_h5_patients
from acdc_medsam.acdc.raw_nifti import Patient, read_patient
from acdc_medsam.errors import CohortError

NIFTI = "NIfTI files"
H5 = "H5 files"


@dataclass(frozen=True)
class Cohort:
    """Outcome of the search for patients.

    Attributes:
        kind: What the raw folder holds, NIFTI or H5.
        patients: Usable patients, in order of their numbers.
        problems: Name of each unusable patient -> its defects, one line each.
        unknown: Excluded names that no patient has.
    """

    kind: str
    patients: tuple[Patient, ...] | tuple[H5Patient, ...]
    problems: dict[str, list[str]]
    unknown: tuple[str, ...] = ()


def find_cohort(raw: Path, exclude: Sequence[str] = (), output: Path | None = None) -> Cohort:
    """Find every patient in the raw folder.

    NIfTI files are in the folders ``training/patientNNN`` and ``testing/patientNNN``. H5 files are in the folders
    ``ACDC_{training,testing}_{volumes,slices}``, or in the raw folder itself. Files and folders of other names are
    ignored.

    Args:
        raw: The raw folder.
        exclude: Names of patients to leave out without looking at them.
        output: Folder in which the workflow publishes H5 files; those are not taken for raw files.

    Raises:
        CohortError: The raw folder is missing, holds no patient, or holds both kinds of files.
    """
    kind = _find_kind(raw, output)
    if kind == H5:
        names, usable, problems = find_h5_patients(raw, exclude)
        return Cohort(kind, tuple(usable), problems, tuple(sorted(set(exclude) - names)))

    folders_by_name = _find_patient_folders(raw)
    patients = list[Patient]()
    problems = defaultdict[str, list[str]](list)

    for name, folders in sorted(folders_by_name.items(), key=lambda item: patient_number(item[0])):
        if name in exclude:
            continue
        if len(folders) > 1:
            both = " and ".join(str(folder) for folder in folders)
            problems[name].append(f"{name}: two folders for one patient: {both}; keep one of them")
            continue
        try:
            patients.append(read_patient(folders[0]))
        except CohortError as error:
            problems[name].extend(str(error).splitlines())

    unknown = sorted(set(exclude) - set(folders_by_name))
    return Cohort(kind, tuple(patients), dict(problems), tuple(unknown))


def _find_kind(raw: Path, output: Path | None) -> str:
    """Find out whether the raw folder holds NIfTI or H5 files."""
    has_nifti = any((raw / subset).is_dir() for subset in SUBSETS)
    h5_folders = {path.parent for _, path in find_h5_files(raw)}
    # If raw and output are one folder, the H5 files in it are those of an earlier run.
    published = {folder for folder in h5_folders if output is not None and _is_published(folder, output)}
    has_h5 = bool(h5_folders - published)

    if has_nifti and has_h5:
        raise CohortError(
            f"{raw} holds NIfTI files (training/ or testing/) and H5 files ({min(h5_folders - published).name}/), and "
            "the workflow starts from one kind; move the others elsewhere, or set 'raw' in config.yaml to a folder "
            "with one kind"
        )
    if published and not has_nifti:
        raise CohortError(
            f"the H5 files in {min(published)} would be replaced by those that the workflow makes from them; set "
            "'output' in config.yaml to another folder"
        )
    if has_nifti or has_h5:
        return H5 if has_h5 else NIFTI
    raise CohortError(
        f"no {NAME} data: looked in {raw} for the folders training and testing with NIfTI files, and for H5 files in "
        f"{NAME}_training_volumes and the like, and found neither.\n"
        "Get ACDC from https://humanheart-project.creatis.insa-lyon.fr/database/ and unpack it there, or set "
        "'raw' in config.yaml to its location. 'make demo' runs the whole workflow without it."
    )


def _is_published(folder: Path, output: Path) -> bool:
    """Whether a folder of H5 files is one that the workflow publishes into."""
    return folder.name.startswith(f"{NAME}_") and folder.resolve() == (output / folder.name).resolve()


def _find_patient_folders(raw: Path) -> dict[str, list[Path]]:
    """Return name -> folders of each patient; a patient in both subsets, or under two spellings, has several."""
    # By number, because patient001 and patient0001 would be the same patient.
    by_number = defaultdict[int, list[Path]](list)
    for subset in SUBSETS:
        for folder in list_folder(raw / subset):
            if PATIENT_PATTERN.fullmatch(folder.name) and folder.is_dir():
                by_number[patient_number(folder.name)].append(folder)
    if not by_number:
        raise CohortError(
            f"no patient in {raw}: its training/ and testing/ folders hold no folder named like 'patient001'"
        )
    return {folders[0].name: folders for folders in by_number.values()}


def count_raw_slices(patients: Sequence[Patient | H5Patient]) -> int:
    """Count the slices of all patients from the headers of their files, or from the files' names."""
    return sum(patient.count_slices() for patient in patients)
