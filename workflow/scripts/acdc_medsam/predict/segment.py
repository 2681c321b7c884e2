"""Segment scans slice by slice, without prompts, as ``evaluate`` segments the volumes of a dataset."""

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from acdc_medsam.encoders.batches import ImageWorker, Work, map_ahead
from acdc_medsam.encoders.devices import claimed_device, set_threads
from acdc_medsam.errors import AcdcError, DatasetError
from acdc_medsam.evaluate.volumes import keep_largest_components, to_original_size
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.kept import Kept, find_kept, keep
from acdc_medsam.formats.nifti import bytes_like
from acdc_medsam.formats.png import Gray
from acdc_medsam.predict.layout import mask_path, mask_record
from acdc_medsam.predict.prepare import Prepared, ScanJob
from acdc_medsam.predict.prepared import read_jobs
from acdc_medsam.predict.scan import Labels
from acdc_medsam.predict.segmenter import load_segmenter
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.runtime.outside import require_announced
from acdc_medsam.runtime.progress import Progress
from acdc_medsam.stages.render import resize_gray
from acdc_medsam.train.model import ModelFacts, identify_model

logger = logging.getLogger(__name__)

SLICES_AHEAD = 4
"""Scans are segmented together until they have this number of slices for each thread, so that none waits for the last
slices of a small scan."""


class SliceKey(NamedTuple):
    """Which slice of which scan: the scan's name, frame and position, and the slice's height and width."""

    scan: str
    frame: int
    z: int
    height: int
    width: int


@dataclass(frozen=True)
class SegmentOptions:
    """How scans are segmented.

    Attributes:
        device: Device to compute on, see :func:`acdc_medsam.encoders.devices.claimed_device`.
        batch_size: Number of slices at a time, or ``auto``, see :class:`acdc_medsam.encoders.batches.ImageWorker`.
        threads: Largest number of threads to use.
    """

    device: str = "auto"
    batch_size: int | str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class SliceImage:
    """A slice that is resized when it is its turn.

    Attributes:
        gray: Gray values (H, W), 0..255.
        size: Height and width of the image that the encoder takes.
    """

    gray: Gray
    size: int

    def read(self) -> Gray:
        """Return the image (size, size)."""
        # Pillow's memory cannot be written to, which PyTorch warns about.
        return resize_gray(self.gray, self.size).copy()


def segment_scans(
    jobs: Sequence[ScanJob], model: ModelFacts, output: Path, options: SegmentOptions
) -> tuple[dict[str, Kept], dict[str, str]]:
    """Write the masks of scans. A mask that is there and was made of the same scan by the same model and code is kept.

    Args:
        jobs: The scans.
        model: The model.
        output: The folder of predictions.
        options: How they are segmented.

    Returns:
        Name of each scan -> its mask; and file of each unusable scan -> why it cannot be segmented.

    Raises:
        AcdcError: The model or the device cannot be used.
    """
    if model.assumed:
        logger.warning("%s", model.describe_assumptions())

    # What a mask depends on besides its scan.
    shared = {**model.settings, "code": code_hash(Path(__file__))}
    made_by = {job.name: {"scan": job.sha256, **shared} for job in jobs}
    found = {job.name: find_mask(job.name, made_by[job.name], output) for job in jobs}
    masks = {name: mask for name, mask in found.items() if mask is not None}
    missing = [job for job in jobs if job.name not in masks]

    failed = dict[str, str]()
    if missing:
        with closing(_segment(missing, model, options, failed)) as segmented:
            for prepared, labels in segmented:
                name = prepared.scan.name
                content = bytes_like(labels, prepared.header)
                masks[name] = keep(mask_path(output, name), content, made_by[name], mask_record(output, name))
    logger.info("segmented %d scans, kept %d", len(missing) - len(failed), len(jobs) - len(missing))
    return masks, failed


def find_mask(name: str, made_by: Mapping[str, Any], output: Path) -> Kept | None:
    """Return the mask of a scan if it is intact and was made in the same way."""
    kept = find_kept(mask_path(output, name), mask_record(output, name))
    return kept if kept is not None and kept.facts == made_by else None


def _segment(
    jobs: Sequence[ScanJob], model: ModelFacts, options: SegmentOptions, failed: dict[str, str]
) -> Generator[tuple[Prepared, Labels], None, None]:
    """Segment scans, and yield each with its labels (T, Z, H, W).

    Args:
        jobs: The scans.
        model: The model.
        options: How they are segmented.
        failed: Dictionary to which unusable scans are added: file -> reason.
    """
    with claimed_device(options.device) as device:
        threads = set_threads(options.threads)
        segmenter = load_segmenter(model, device)
        work = Work[SliceKey, Labels](segmenter.encoder, segmenter.label, _restore_size)
        worker = ImageWorker(work, options.batch_size, threads)
        with closing(Progress(sum(job.slices for job in jobs), unit="slice")) as progress:
            for group in _load_groups(jobs, SLICES_AHEAD * threads, failed):
                labels = _segment_group(group, worker, model.image_size, progress)
                yield from ((prepared, labels[prepared.scan.name]) for prepared in group)


def _load_groups(jobs: Sequence[ScanJob], slices: int, failed: dict[str, str]) -> Iterator[list[Prepared]]:
    """Load scans ahead, and yield them in groups that have at least a number of slices.

    Args:
        jobs: The scans.
        slices: The number of slices.
        failed: Dictionary to which unusable scans are added: file -> reason.
    """

    def load(job: ScanJob) -> tuple[ScanJob, Prepared | AcdcError]:
        try:
            prepared = job.load()
            require_announced(job.path, prepared.sha256, job.sha256)
        except AcdcError as error:
            return job, error
        return job, prepared

    group = list[Prepared]()
    loaded_slices = 0
    with ThreadPoolExecutor(1) as pool:
        for job, loaded in map_ahead(pool, load, jobs, 3):
            if isinstance(loaded, AcdcError):
                failed[str(job.path)] = str(loaded)
                logger.warning("%s", loaded)
                continue
            group.append(loaded)
            loaded_slices += job.slices
            if loaded_slices >= slices:
                yield group
                group = []
                loaded_slices = 0
    if group:
        yield group


def _segment_group(
    group: Sequence[Prepared], worker: ImageWorker[SliceKey, Labels], size: int, progress: Progress
) -> dict[str, Labels]:
    """Segment scans; return the labels (T, Z, H, W) of each by its name."""
    images = {
        SliceKey(prepared.scan.name, frame, z, *gray.shape): SliceImage(gray, size)
        for prepared in group
        for frame, volume in enumerate(prepared.scan.images)
        for z, gray in enumerate(volume)
    }
    labels = {prepared.scan.name: np.zeros_like(prepared.scan.images) for prepared in group}
    for key, label in worker.run(images, progress.advance).items():
        labels[key.scan][key.frame, key.z] = label
    return {name: np.stack([keep_largest_components(frame) for frame in frames]) for name, frames in labels.items()}


def _restore_size(key: SliceKey, label: Tensor) -> Labels:
    """Resize the label (1024, 1024) of a slice to the slice's own height and width."""
    return to_original_size(label.numpy(), (key.height, key.width))


def segment_prepared(
    prepared: Sequence[Path], model: Path, encoder: str | None, output: Path, index: Path, options: SegmentOptions
) -> None:
    """Write the masks of scans that were prepared by other jobs.

    Args:
        prepared: Index of each scan, see :mod:`acdc_medsam.predict.prepared`.
        model: The trained weights.
        encoder: Name of the encoder that is assumed if nothing else says which it is.
        output: The folder of predictions.
        index: Declared output, the index of the masks.
        options: How they are segmented.

    Raises:
        AcdcError: The model, the device or a prepared file cannot be used.
    """
    jobs, _ = read_jobs(prepared)
    masks, failed = segment_scans(jobs, identify_model(model, encoder), output, options)
    if failed:
        raise DatasetError("prepared files cannot be used; run the same command again:\n" + "\n".join(failed.values()))
    write_index(index, [index_row(mask.written, index) for mask in masks.values()])
    # Indexes of another division of the scans would name masks that other jobs make from now on.
    division = index.name.partition("-")[2]
    for path in index.parent.glob("*.tsv"):
        if not path.name.endswith(f"-{division}"):
            path.unlink(missing_ok=True)
