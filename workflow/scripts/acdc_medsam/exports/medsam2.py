"""Export medsam2: NumPy archives of whole volumes and of cines, as bowang-lab/MedSAM2 reads them as videos.

``NPZRawDataset`` (training/dataset/vos_raw_dataset.py) takes every ``.npz`` below a folder, or those that a list names
by their path without suffix. The first axis of ``imgs`` is that of the frames, and each value of ``gts`` is an object.
``spacing`` is read by the scripts for inference, in SimpleITK's order, as MedSAM's pre_CT_MR.py writes it.
"""

import io
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acdc_medsam.acdc.naming import CINE_ENDING, volume_of
from acdc_medsam.errors import VolumeError
from acdc_medsam.exports.folder import Published, close_export, shows_structure, split_of_patients
from acdc_medsam.exports.size import announce_size
from acdc_medsam.formats.files import Row, Written, read_table, write_bytes
from acdc_medsam.formats.h5 import H5Content, read_geometry, read_h5
from acdc_medsam.formats.nifti import count_slices, read_nifti, read_scan, read_shape
from acdc_medsam.formats.nifti_header import read_frame_time
from acdc_medsam.layout import published_splits
from acdc_medsam.runtime.outside import require_announced
from acdc_medsam.runtime.progress import Progress
from acdc_medsam.stages.render import round_image

logger = logging.getLogger(__name__)

ARCHIVE_BYTES = 2048
"""Size of an archive besides its voxels, at most."""


def export_medsam2(
    published: Published, folder: Path, index: Path, cines: Mapping[str, str], percentile: float
) -> None:
    """Write ``<split>/<volume>.npz`` with the lists ``<split>.txt``, and the same for the slices of cines.

    An archive has ``imgs`` and ``gts``, (Z, H, W) uint8, with intensities 0..255 and labels 0..3 of all slices, and
    ``spacing``, (x, y, z) in mm. An unknown spacing is left out.

    ``videos/<split>/<patient>_4d_slice_<z>.npz``, with the lists ``<split>_videos.txt``, has the same of a slice that
    shows a structure in a labeled frame, with all frames of the cine along the first axis, (T, H, W). ``labelled`` are
    the indices of the labeled frames; ``gts`` is 0 in all others. ``frame_seconds`` is the time between two frames,
    which is left out if the header does not say it. Without a cine, there are no such archives and lists.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        cines: Path -> hex sha256, when the run was planned, of each raw cine and of the patient's single frames.
        percentile: Percentile by which the frames of cines are normalized, as the published volumes were.

    Raises:
        DatasetError: The split is by slice, not by patient; an H5 file is missing or has changed; or a raw file changed
            since the run was planned.
        VolumeError: A cine cannot be used, or one of its frames is not the single frame of that number.
        AcdcError: There is too little space on the disk.
    """
    rows = read_table(published.manifest)
    volumes = _find_volumes(published, folder, rows)
    videos = _find_cines(published, folder, rows, cines)

    video_sizes = {target: cine.video_bytes for cine in videos for target in cine.targets.values()}
    announce_size(folder, index, {target: volume.bytes for target, volume in volumes.items()} | video_sizes)
    files = [_write_volume(target, volume.record) for target, volume in volumes.items()]
    files += _write_videos(videos, cines, percentile)

    for split in published_splits(rows):
        files.append(_write_list(folder / f"{split}.txt", [path for path in volumes if path.parent.name == split]))
        if video_sizes:
            of_split = [path for path in video_sizes if path.parent.name == split]
            files.append(_write_list(folder / f"{split}_videos.txt", of_split))

    close_export(folder, index, files)
    logger.info("%d volumes, %d videos", len(volumes), len(video_sizes))


@dataclass(frozen=True)
class _Volume:
    """A published H5 volume, and the number of bytes that its archive takes at most."""

    record: Written
    bytes: int


@dataclass(frozen=True)
class _Cine:
    """The cine of a patient, and the videos that are made from it.

    Attributes:
        path: The raw cine.
        frames: Index of each labeled frame, from 0 -> raw file of this frame alone, and its published H5 volume.
        targets: Index of a slice -> archive of its video.
        video_bytes: Number of bytes that an archive takes at most.
    """

    path: Path
    frames: dict[int, tuple[Path, Written]]
    targets: dict[int, Path]
    video_bytes: int


def _find_volumes(published: Published, folder: Path, rows: Sequence[Row]) -> dict[Path, _Volume]:
    """Return archive -> published volume."""
    splits = split_of_patients(rows)
    pixels = {volume_of(row["slice"]): int(row["height"]) * int(row["width"]) for row in rows}
    depths = Counter(volume_of(record.path.stem) for record in published.h5("slices"))

    volumes: dict[Path, _Volume] = {}
    for record in published.h5("volumes"):
        name = record.path.stem
        # A volume without any structure has no slices in the manifest, and nothing to learn from.
        if name in pixels:
            target = folder / splits[name.split("_")[0]] / f"{name}.npz"
            volumes[target] = _Volume(record, 2 * depths[name] * pixels[name] + ARCHIVE_BYTES)
    return volumes


def _find_cines(published: Published, folder: Path, rows: Sequence[Row], raw: Mapping[str, str]) -> list[_Cine]:
    """Return the cines of the patients in the dataset."""
    paths = {Path(path).name.split(".")[0]: Path(path) for path in raw}
    slices = defaultdict[str, set[int]](set)
    for row in filter(shows_structure, rows):
        slices[row["patient"]].add(int(row["slice_index"]))
    records = defaultdict[str, list[Written]](list)
    for record in published.h5("volumes"):
        records[record.path.stem.split("_")[0]].append(record)

    cines = list[_Cine]()
    for patient, split in split_of_patients(rows).items():
        name = f"{patient}{CINE_ENDING}"
        if name not in paths or not slices[patient]:
            continue
        frames: dict[int, tuple[Path, Written]] = {}
        for record in records[patient]:
            # Frames are numbered from 1.
            frames[int(record.path.stem.rpartition("_frame")[2]) - 1] = (paths[record.path.stem], record)

        x, y, depth = read_shape(next(iter(frames.values()))[0])
        pixels = count_slices(paths[name]) // depth * x * y
        targets = {z: folder / "videos" / split / f"{name}_slice_{z}.npz" for z in sorted(slices[patient])}
        cines.append(_Cine(paths[name], frames, targets, 2 * pixels + ARCHIVE_BYTES))
    return cines


def _write_volume(target: Path, record: Written) -> Written:
    """Write the archive of a published H5 volume, and return its record."""
    content = read_h5(record.path, 3, record.sha256)
    arrays = {"imgs": round_image(content.image), "gts": content.label}
    return _write_archive(target, arrays | _spacing_of(content, record, target))


def _write_videos(cines: Sequence[_Cine], raw: Mapping[str, str], percentile: float) -> list[Written]:
    """Write the archives of all cines, and return their records; what is wrong with any cine is said at the end."""
    files = list[Written]()
    problems = list[str]()
    with closing(Progress(len(cines), unit="cine")) as progress:
        for cine in cines:
            try:
                files += _write_videos_of(cine, raw, percentile)
            except VolumeError as error:
                problems.append(str(error))
            progress.advance()

    if problems:
        raise VolumeError("\n".join(problems))
    return files


def _write_videos_of(cine: _Cine, raw: Mapping[str, str], percentile: float) -> list[Written]:
    """Write the archives of a cine, and return their records."""
    # Imported here, because every run imports this module to know its export, and scikit-image takes long.
    from acdc_medsam.stages.frames import normalize_frames
    from acdc_medsam.stages.normalize import to_array

    image = read_scan(cine.path)
    require_announced(cine.path, image.sha256, raw[str(cine.path)])
    frames = to_array(image, cine.path)  # (T, Z, H, W)
    labels = np.zeros(frames.shape, np.uint8)
    facts: dict[str, Any] = {"labelled": np.array(sorted(cine.frames))}

    for index, (path, record) in cine.frames.items():
        single = read_nifti(path)
        require_announced(path, single.sha256, raw[str(path)])
        voxels = to_array(single, path)
        # A slice, because the cine may have fewer frames.
        if not np.array_equal(frames[index : index + 1], voxels[np.newaxis]):
            raise VolumeError(
                f"{cine.path.name}: its frame {index + 1} is not {path.name}, voxel by voxel; correct the number in "
                "Info.cfg, restore both files from the original dataset, or move the cine out of the raw folder"
            )
        # How a volume is normalized depends on the type, so the cine takes that of the single frames.
        frames = frames.astype(np.promote_types(frames.dtype, voxels.dtype), copy=False)
        content = read_h5(record.path, 3, record.sha256)
        labels[index] = content.label
        facts |= _spacing_of(content, record, cine.path)

    seconds = read_frame_time(image.header)
    if seconds is not None:
        facts["frame_seconds"] = np.array(seconds)
    images = normalize_frames(frames, cine.path, percentile)
    return [
        _write_archive(target, {"imgs": images[:, z], "gts": labels[:, z], **facts})
        for z, target in cine.targets.items()
    ]


def _spacing_of(content: H5Content, record: Written, target: Path) -> dict[str, Any]:
    """Return the entry ``spacing`` of an archive, (x, y, z) in mm, or none if it is unknown, which is said."""
    spacing, _ = read_geometry(content)
    if spacing is None:
        logger.warning("%s: its spacing is unknown, so %s has none", record.path.stem, target)
        return {}
    return {"spacing": np.array(spacing[::-1])}


def _write_archive(target: Path, arrays: Mapping[str, Any]) -> Written:
    """Write an archive, and return its record."""
    # Not compressed: training reads an archive again and again.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return write_bytes(target, buffer.getbuffer(), read_only=True)


def _write_list(path: Path, archives: Sequence[Path]) -> Written:
    """Write the list of some archives by their paths below the list's folder, without suffix."""
    names = sorted(archive.relative_to(path.parent).with_suffix("").as_posix() for archive in archives)
    return write_bytes(path, "".join(f"{name}\n" for name in names).encode())
