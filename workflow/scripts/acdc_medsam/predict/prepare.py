"""Read a scan and normalize it, frame by frame, as the volumes of the dataset were normalized."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.formats.nifti import read_scan
from acdc_medsam.formats.nifti_header import Header, read_frame_time
from acdc_medsam.predict.find_scans import ScanFile
from acdc_medsam.predict.scan import Scan
from acdc_medsam.stages.frames import normalize_frames
from acdc_medsam.stages.normalize import compare_spacings, to_array


@dataclass(frozen=True)
class Prepared:
    """A scan that is ready to be segmented.

    Attributes:
        scan: The scan.
        header: Header of the scan's file, which that of the mask is made from.
        sha256: Hex sha256 of the scan's file.
    """

    scan: Scan
    header: Header
    sha256: str


@dataclass(frozen=True)
class ScanJob:
    """A scan to segment.

    Attributes:
        name: Name of the scan.
        path: File of the scan.
        sha256: Hex sha256 of the file.
        info_sha256: Hex sha256 of the patient's Info.cfg, from which the phases come; None if there is none.
        slices: Number of slices of all frames, for the bar.
        load: Function that reads and normalizes the scan.
    """

    name: str
    path: Path
    sha256: str
    info_sha256: str | None
    slices: int
    load: Callable[[], Prepared]


def prepare_scan(file: ScanFile, percentile: float) -> Prepared:
    """Read a scan and normalize it.

    Each frame of a cine is normalized by itself, as the single frames were that the model was trained on.

    Args:
        file: The scan's file.
        percentile: Percentile for :func:`acdc_medsam.stages.normalize.normalize_intensities`.

    Raises:
        VolumeError: The file cannot be used, or a frame has no range of intensities.
    """
    image = read_scan(file.path)
    voxels = to_array(image, file.path)
    frames = voxels if voxels.ndim == 4 else voxels[None]  # (T, Z, H, W)
    x, y, z = image.spacing

    scan = Scan(
        name=file.name,
        subject=file.subject,
        images=normalize_frames(frames, file.path, percentile),
        spacing=(z, y, x),
        frame_seconds=read_frame_time(image.header) if len(frames) > 1 else None,
        phases=file.phases(len(frames)),
        notes=compare_spacings(file.path.name, (z, y, x), image.affine),
    )
    return Prepared(scan, image.header, image.sha256)
