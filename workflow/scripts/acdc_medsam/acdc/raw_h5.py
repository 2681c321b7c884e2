"""Patients whose raw files are H5 volumes and slices, as repositories for semi-supervised learning publish them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acdc_medsam.acdc.folders import list_folder
from acdc_medsam.acdc.naming import H5_KINDS, H5_PATTERN, SUBSETS, h5_folder, patient_number, slice_name, volume_name
from acdc_medsam.acdc.patient_facts import FACTS_NAME, parse_facts, read_facts
from acdc_medsam.errors import CohortError
from acdc_medsam.formats.files import Row


@dataclass(frozen=True)
class H5Frame:
    """The H5 files of one frame: its volume, its slices, or both.

    Attributes:
        number: Number of the frame in the cine, counted from 1.
        volume: File of the volume, or None.
        slices: Index of the slice -> file, in order; without a volume, every index from 0 on.
    """

    number: int
    volume: Path | None
    slices: Mapping[int, Path]

    @property
    def files(self) -> list[Path]:
        """The volume, if there is one, and then the slices."""
        return [*([self.volume] if self.volume else []), *self.slices.values()]


@dataclass(frozen=True)
class H5Patient:
    """One patient with the H5 files of two frames.

    Attributes:
        name: Name of the patient, such as ``patient001``.
        subset: ``training`` or ``testing``.
        frames: The two frames, in order of their numbers. Which one is ED is known when both have been read.
        facts: Cells of the patient's row in ``patients.tsv``, see :func:`acdc_medsam.acdc.patient_facts.read_facts`.
    """

    name: str
    subset: str
    frames: tuple[H5Frame, ...]
    facts: Row = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The number in the patient's name."""
        return patient_number(self.name)

    @property
    def sources(self) -> list[Path]:
        """Every raw file that the patient's part of the dataset is made from."""
        return [path for frame in self.frames for path in frame.files]

    @property
    def volumes(self) -> list[Path]:
        """NIfTI files of the patient: none."""
        return []

    @property
    def images(self) -> list[Path]:
        """NIfTI files of the patient's images: none."""
        return []

    def count_slices(self) -> int:
        """Count the slices of both frames; a frame that cannot be read counts as 0."""
        from acdc_medsam.formats.h5 import read_h5_depth  # imports h5py, which a cohort of NIfTI files does not need

        return sum(len(frame.slices) if frame.volume is None else read_h5_depth(frame.volume) for frame in self.frames)


def find_h5_files(raw: Path) -> list[tuple[str, Path]]:
    """Find H5 files by their names, in their folders and in the raw folder itself.

    Returns:
        Subset and path of each file.

    Raises:
        CohortError: A folder cannot be read.
    """
    # A raw folder that itself has the name of such a folder belongs to that folder's subset.
    own = next(
        (subset for subset in SUBSETS for kind in H5_KINDS if raw.name == h5_folder(subset, kind).name), SUBSETS[0]
    )
    folders = [(subset, raw / h5_folder(subset, kind)) for subset in SUBSETS for kind in H5_KINDS]
    return [
        (subset, path)
        for subset, folder in (*folders, (own, raw))
        for path in list_folder(folder)
        if H5_PATTERN.fullmatch(path.name)
    ]


def find_h5_patients(raw: Path, exclude: Sequence[str]) -> tuple[set[str], list[H5Patient], dict[str, list[str]]]:
    """Find every patient that H5 files belong to.

    Args:
        raw: The raw folder.
        exclude: Names of patients to leave out without looking at them.

    Returns:
        Names of all patients; the usable ones, in order of their numbers; and name of each unusable one -> its defects.

    Raises:
        CohortError: A folder or ``patients.tsv`` cannot be read.
    """
    facts = read_facts(raw)
    # By number, because patient001 and patient0001 would be the same patient.
    files = defaultdict[int, list[tuple[str, Path]]](list)
    for subset, path in find_h5_files(raw):
        files[patient_number(path.name.split("_")[0])].append((subset, path))

    names = set[str]()
    patients = []
    problems = {}
    for _, found in sorted(files.items()):
        name = found[0][1].name.split("_")[0]
        names.add(name)
        if name in exclude:
            continue
        try:
            patients.append(_to_patient(name, found, facts.get(name, {})))
        except CohortError as error:
            problems[name] = str(error).splitlines()
    return names, patients, problems


def _to_patient(name: str, files: Sequence[tuple[str, Path]], facts: Row) -> H5Patient:
    """Collect the files of a patient, and check that they are those of two frames.

    Raises:
        CohortError: The files have defects; the message has a line for each.
    """
    problems = list[str]()
    subsets = {subset for subset, _ in files}
    if len(subsets) > 1 or len({path.name.split("_")[0] for _, path in files}) > 1:
        folders = sorted({str(path.parent) for _, path in files})
        raise CohortError(
            f"{name}: H5 files of two patients with this number, in {' and '.join(folders)}; keep those of one of them"
        )

    by_name = defaultdict[str, list[Path]](list)
    for _, path in files:
        by_name[path.name].append(path)
    for twice in (paths for paths in by_name.values() if len(paths) > 1):
        problems.append(f"{name}: two files {twice[0].name}: {' and '.join(map(str, twice))}; keep one of them")

    frames = group_frames(path for _, path in files)
    numbers = [frame.number for frame in frames]
    if len(frames) != 2:
        shown = ", ".join(map(str, numbers))
        problems.append(f"{name}: H5 files of {len(frames)} frames ({shown}); keep those of two, ED and ES")
    for frame in frames:
        missing = sorted(set(range(max(frame.slices, default=-1) + 1)) - set(frame.slices))
        if frame.volume is None and missing:
            stem = slice_name(name, frame.number, missing[0])
            problems.append(
                f"{name}: {stem}.h5 is missing: without the volume itself, every slice from 0 on must be there; "
                f"add it, or {volume_name(name, frame.number)}.h5"
            )
    try:
        parse_facts(facts, numbers)
    except CohortError as error:
        problems.append(f"{name}: {FACTS_NAME}: {error}")
    if problems:
        raise CohortError("\n".join(problems))
    return H5Patient(name, subsets.pop(), frames, facts)


def group_frames(files: Iterable[Path]) -> tuple[H5Frame, ...]:
    """Group the H5 files of one patient by frame, in order of the frames' numbers."""
    volumes: dict[int, Path] = {}
    slices = defaultdict[int, dict[int, Path]](dict)
    for path in files:
        match = H5_PATTERN.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path} is not the H5 file of a volume or slice")
        number = int(match["frame"])
        if match["slice"] is None:
            volumes[number] = path
        else:
            slices[number][int(match["slice"])] = path
    return tuple(
        H5Frame(number, volumes.get(number), dict(sorted(slices[number].items())))
        for number in sorted(volumes.keys() | slices.keys())
    )
