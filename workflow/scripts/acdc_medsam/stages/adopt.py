"""Stage adopt: a patient's H5 volumes and slices from outside -> H5 volumes and slices of the workflow's own form.

The image is normalized already. Input: the H5 files of one patient. Output: ``volumes/`` and ``slices/``, and an index
of both. What the files do not say is taken from ``patients.tsv``, from the attributes of a file that this workflow
wrote, or is inferred, which column ``notes`` of the manifest then says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS, PHASES, UNKNOWN_GROUP, assume_group
from acdc_medsam.acdc.naming import SUBSETS
from acdc_medsam.acdc.patient_facts import FACTS_NAME, Facts, parse_facts
from acdc_medsam.acdc.raw_h5 import H5Frame, H5Patient
from acdc_medsam.errors import CohortError, VolumeError
from acdc_medsam.formats.h5 import Array, OutsideH5, read_outside_h5
from acdc_medsam.layout import GROUP_ASSUMED, PHASE_INFERRED
from acdc_medsam.stages.h5_files import NormalizedFrame, write_patient

ROUNDING = 1e-3
"""Largest error of an intensity in [0, 1] that is taken for rounding; that of float16 is 2.4e-4."""

ATTRIBUTES = ("group", "height", "weight", "phase", "spacing", "affine", "notes")
"""Attributes of the workflow's own H5 files that are taken over."""


@dataclass(frozen=True)
class AdoptedFrame:
    """One frame as read from its H5 files.

    Attributes:
        number: Number of the frame.
        image: (Z, H, W) float32 in [0, 1].
        label: (Z, H, W) uint8 in {0, 1, 2, 3}.
        others: Name -> further dataset (Z, H, W).
        attributes: Those of ATTRIBUTES that the files have.
        sources: File -> hex sha256.
        notes: Remarks on the files.
    """

    number: int
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    others: dict[str, Array]
    attributes: Mapping[str, object]
    sources: dict[Path, str]
    notes: tuple[str, ...]


def adopt_patient(
    patient: H5Patient, index: Path, raw: Path, on_invalid: str, announced: Mapping[str, str] | None = None
) -> None:
    """Write a patient's H5 files to ``volumes/`` and ``slices/`` beside their index.

    Args:
        patient: The patient.
        index: Declared output, the index of the H5 files, written last.
        raw: The raw folder.
        on_invalid: ``stop`` raises an error for an unusable volume; ``exclude`` writes an empty index with the reason.
        announced: File name -> hex sha256 of each raw file when the run was planned; None accepts any.

    Raises:
        VolumeError: A file is unusable, or files contradict each other, and ``on_invalid`` is ``stop``.
        DatasetError: A raw file has changed since the run was planned.
    """
    write_patient(patient.name, _adopt_frames(patient), index, raw, on_invalid, announced)


def _adopt_frames(patient: H5Patient) -> Iterator[NormalizedFrame]:
    """Read both frames, because only both together say which one is ED, and describe each."""
    frames = [read_frame(frame) for frame in patient.frames]
    facts = _find_facts(patient, frames)
    remarks = []
    phases = facts.phases
    if phases is None:
        phases = infer_phases({frame.number: frame.label for frame in frames})
        remarks.append(PHASE_INFERRED)
    group = facts.group
    if group is None:
        # ACDC's testing patients are numbered in no order of groups.
        group = assume_group(patient.number if patient.subset == SUBSETS[0] else 0)
        remarks += [GROUP_ASSUMED] if group != UNKNOWN_GROUP else []

    geometry = {"spacing": facts.spacing, "affine": facts.affine}
    for frame in frames:
        others = [f"also holds {', '.join(frame.others)}"] if frame.others else []
        attributes = {
            "subset": patient.subset,
            "group": group,
            "height": facts.height,
            "weight": facts.weight,
            "phase": phases[frame.number],
            "source": "h5",
            "notes": "; ".join([*remarks, *others]),
            **{name: value for name, value in geometry.items() if value is not None},
        }
        yield NormalizedFrame(
            frame.number, frame.image, frame.label, attributes, frame.sources, frame.notes, frame.others
        )


def _find_facts(patient: H5Patient, frames: Sequence[AdoptedFrame]) -> Facts:
    """Find what is stated about a patient in ``patients.tsv``, or else in the attributes of the H5 files.

    If the files are the output of an earlier run that inferred something, that is inferred again.

    Raises:
        VolumeError: A fact cannot be used.
    """
    stated = dict[str, str]()
    for frame in frames:
        earlier = str(frame.attributes.get("notes", ""))
        for name in ("group", "height", "weight", "spacing", "affine"):
            text = _to_cell(frame.attributes.get(name))
            if text and not (name == "group" and GROUP_ASSUMED in earlier):
                stated[name] = text
        phase = str(frame.attributes.get("phase", "")).lower()
        if phase in map(str.lower, PHASES) and PHASE_INFERRED not in earlier:
            stated[phase] = str(frame.number)

    numbers = [frame.number for frame in frames]
    for place, cells in (("attributes of its H5 files", stated), (FACTS_NAME, stated | patient.facts)):
        try:
            facts = parse_facts(cells, numbers)
        except CohortError as error:
            raise VolumeError(f"{place}: {error}") from error
    return facts


def _to_cell(value: object) -> str:
    """Convert an attribute to the text of a cell of ``patients.tsv``; nothing for an unknown number."""
    numbers = np.ravel(value) if isinstance(value, (float, np.floating, np.ndarray)) else None
    if numbers is None:
        return str(value) if isinstance(value, str) else ""
    return "" if numbers.dtype.kind != "f" or np.isnan(numbers).any() else " ".join(map(repr, numbers.tolist()))


def infer_phases(labels: Mapping[int, npt.NDArray[np.uint8]]) -> dict[int, str]:
    """Infer the phases: the frame with the larger left ventricle is ED.

    Args:
        labels: Number of the frame -> labels (Z, H, W), for the two frames of one patient.

    Returns:
        Number of the frame -> ED or ES.

    Raises:
        VolumeError: The left ventricles are equally large.
    """
    sizes = {number: int(np.count_nonzero(label == LABELS["LV"])) for number, label in labels.items()}
    systole, diastole = sorted(sizes, key=lambda number: sizes[number])
    if sizes[systole] == sizes[diastole]:
        raise VolumeError(
            f"frames {systole} and {diastole}: the left ventricle has {sizes[diastole]} voxels in both, so which "
            f"one is ED is not known; give its number in column 'ed' of {FACTS_NAME}"
        )
    return {diastole: "ED", systole: "ES"}


def read_frame(frame: H5Frame) -> AdoptedFrame:
    """Read the H5 files of a frame, and check them, and the slices against the volume.

    Raises:
        VolumeError: A file cannot be used, or files contradict each other; the message names the file.
    """
    planes = {index: _read_part(path, 2) for index, path in frame.slices.items()}
    whole = None if frame.volume is None else _read_part(frame.volume, 3)
    files = [*([whole] if whole else []), *planes.values()]
    if whole is None:
        image, label, name = *_stack(frame, planes), frame.slices[0].name
    else:
        image, label, name = whole.image, whole.label, whole.path.name
        for index, plane in planes.items():
            _compare(plane, index, whole)
    if image.min() == image.max():
        raise VolumeError(f"{name}: every voxel of the image is {image.min():g}; replace it by the original file")

    others, incomplete = _collect_others(whole, planes, len(image))
    left = sorted({name for part in files for name in part.left} | incomplete)
    notes = (f"{name}: not carried along: {', '.join(left)}",) if left else ()
    attributes = {key: value for part in files for key, value in part.attributes.items()}
    sources = {part.path: part.sha256 for part in files}
    return AdoptedFrame(frame.number, image, label, others, attributes, sources, notes)


@dataclass(frozen=True)
class _Part:
    """A checked H5 file: a volume (Z, H, W) or a slice (H, W)."""

    path: Path
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    others: dict[str, Array]
    left: tuple[str, ...]
    attributes: Mapping[str, object]
    sha256: str


def _read_part(path: Path, dimensions: int) -> _Part:
    content = read_outside_h5(path, ATTRIBUTES)
    if content.image.ndim != dimensions or 0 in content.image.shape:
        axes = "slice, height, width" if dimensions == 3 else "height, width"
        raise VolumeError(
            f"{path.name}: the image has the shape {content.image.shape}, not one size for each of {axes}; replace it "
            "by the original file"
        )
    if content.label.shape != content.image.shape:
        raise VolumeError(
            f"{path.name}: label {content.label.shape} and image {content.image.shape} have different shapes; replace "
            "it by the original file"
        )
    return _Part(
        path,
        _check_image(content, path.name),
        _check_label(content, path.name),
        content.others,
        content.left,
        content.attributes,
        content.sha256,
    )


def _check_image(content: OutsideH5, name: str) -> npt.NDArray[np.float32]:
    """Return the image as float32 in [0, 1] after checking its values."""
    if not np.isfinite(content.image).all():
        raise VolumeError(f"{name}: the image has NaN or infinite values; replace it by the original file")
    image = content.image.astype(np.float32)
    low = float(image.min())
    high = float(image.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise VolumeError(
            f"{name}: intensities from {low:g} to {high:g}, but a normalized image lies in [0, 1]; start from the "
            "NIfTI files, which the workflow normalizes, or replace the file"
        )
    return np.clip(image, 0, 1)


def _check_label(content: OutsideH5, name: str) -> npt.NDArray[np.uint8]:
    """Return the label as uint8 after checking its values."""
    unknown = np.setdiff1d(content.label, (0, *LABELS.values()))
    if unknown.size:
        shown = ", ".join(f"{value:g}" for value in unknown[:5])
        known = ", ".join(f"{value} {structure}" for structure, value in LABELS.items())
        raise VolumeError(f"{name}: the label has the values {shown}, not only 0 background, {known}; replace it")
    return content.label.astype(np.uint8)


def _compare(plane: _Part, index: int, whole: _Part) -> None:
    """Check that a slice equals its plane of the volume."""
    if index >= len(whole.image):
        raise VolumeError(
            f"{plane.path.name}: {whole.path.name} has only {len(whole.image)} slices; remove one of the two files"
        )
    same = plane.image.shape == whole.image.shape[1:]
    same = same and bool(np.abs(plane.image - whole.image[index]).max() <= ROUNDING)
    if not same or not np.array_equal(plane.label, whole.label[index]):
        raise VolumeError(f"{plane.path.name}: differs from plane {index} of {whole.path.name}; remove the wrong one")


def _stack(frame: H5Frame, planes: Mapping[int, _Part]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Stack the slices of a frame whose volume is not there; the cohort has checked that every index is."""
    first = planes[0]
    for plane in planes.values():
        if plane.image.shape != first.image.shape:
            raise VolumeError(
                f"{plane.path.name}: has the shape {plane.image.shape}, and {first.path.name} has {first.image.shape}; "
                f"replace the wrong one, or add the volume of frame {frame.number}"
            )
    return np.stack([plane.image for plane in planes.values()]), np.stack([plane.label for plane in planes.values()])


def _collect_others(whole: _Part | None, planes: Mapping[int, _Part], depth: int) -> tuple[dict[str, Array], set[str]]:
    """Collect the further datasets of the volume, or of the slices if all of them have it.

    Returns:
        Name -> dataset (Z, H, W); and the names of those that some slices lack.
    """
    others = dict(whole.others) if whole else {}
    incomplete = set()
    for name in sorted({name for plane in planes.values() for name in plane.others} - set(others)):
        arrays = [plane.others[name] for plane in planes.values() if name in plane.others]
        if len(arrays) == depth and len({array.dtype for array in arrays}) == 1:
            others[name] = np.stack(arrays)
        else:
            incomplete.add(repr(name))
    return others, incomplete
